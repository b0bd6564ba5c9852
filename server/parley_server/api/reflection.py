"""Server reflection, v1 and v1alpha, so that grpcurl needs no files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from parley.admin.v1 import admin_service_pb2
from parley.auth.v1 import auth_service_pb2
from parley.channel.v1 import channel_service_pb2
from parley.chat.v1 import chat_service_pb2
from parley.user.v1 import user_service_pb2
from parley_server.api.open_calls import OpenCalls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SERVICES = tuple(
    service.full_name
    for file in (
        admin_service_pb2.DESCRIPTOR,
        auth_service_pb2.DESCRIPTOR,
        channel_service_pb2.DESCRIPTOR,
        chat_service_pb2.DESCRIPTOR,
        user_service_pb2.DESCRIPTOR,
        health_pb2.DESCRIPTOR,
        reflection_pb2.DESCRIPTOR,
    )
    for service in file.services_by_name.values()
)


class BoundedReflection:
    """Answers anybody, on at most `streams_limit` streams at a time: a stream that asks nothing ends when its
    client wants it to.
    """

    def __init__(self, streams_limit: int) -> None:
        self._servicer: Any = ReflectionServicer(SERVICES)
        self._streams = OpenCalls(
            streams_limit, "Too many reflection streams are open. Retry later, or use the .proto files."
        )

    async def ServerReflectionInfo(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        async with self._streams.one(context):
            async for answer in self._servicer.ServerReflectionInfo(request_iterator, context):
                yield answer


def add_reflection(server: grpc.aio.Server, *, streams_limit: int) -> None:
    """Serve reflection for all public services.

    v1 has the messages of v1alpha under another service name (grpc.io, server reflection): one servicer
    answers both. The v1 name is not in the list it gives out, since no descriptor of it exists to be asked
    for.
    """
    servicer: Any = BoundedReflection(streams_limit)
    register: Any = add_ServerReflectionServicer_to_server
    register(servicer, server)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": method}
            ),
        )
    )
