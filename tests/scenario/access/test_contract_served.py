"""The whole contract: each service has its access table, and what the contract holds is served."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from parley_server.testing.access_table import METHODS, path_of
from parley_server.testing.raw_client import outcome_of

if TYPE_CHECKING:
    from parley_server.testing.raw_client import RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_service_has_its_table() -> None:
    """A new service cannot be forgotten. Planted: the file of ChatService renamed."""
    tables = {file.name for file in Path(__file__).parent.glob("test_*_access.py")}
    areas = {name.split(".")[1] for name in METHODS}
    assert tables == {f"test_{area}_access.py" for area in areas}


async def test_every_served_method_is_implemented(client: RawClient, operator_name: str) -> None:
    """What reflection shows is served, and what the contract holds is shown: a walk over the descriptors.

    Planted: UserService served by the bare generated class, which raises; found by INTERNAL.
    """
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    request: Any = reflection_pb2.ServerReflectionRequest
    names = [request(list_services="")]
    listed = [answer async for answer in reflection.ServerReflectionInfo(iter(names))]
    services = [service.name for service in listed[0].list_services_response.service]
    served: dict[str, bool] = {}
    for service_name in services:
        asked = [request(file_containing_symbol=service_name)]
        async for answer in reflection.ServerReflectionInfo(iter(asked)):
            for encoded in answer.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(encoded)
                for service in file.service:
                    full_name = f"{file.package}.{service.name}"
                    if full_name in services:
                        for method in service.method:
                            streams = method.client_streaming or method.server_streaming
                            served[f"{full_name}.{method.name}"] = streams
    assert {name for name in served if name.startswith("parley.")} == set(METHODS)
    assert {name.rpartition(".")[0] for name in served} == set(services)
    for name, streams in served.items():
        if not streams:
            # A fresh device each time: one of the calls is LogOut.
            operator = await client.log_in(operator_name)
            outcome = await outcome_of(client.raw(path_of(name), b"", operator))
            assert outcome.code.name != "UNIMPLEMENTED", name
            assert outcome.code.name != "INTERNAL", name
    for name in ("no.such.Service.Method", "parley.chat.v1.ChatService.NoSuchMethod"):
        outcome = await outcome_of(client.raw(path_of(name), b"", operator))
        assert outcome.code.name == "UNIMPLEMENTED"
