"""The server that connectrpc's conformance runner talks to: parley_wire with its ConformanceService.

Started by that runner, which wire_conformance.py starts. Its stubs lie in the folder that the variable
PARLEY_CONFORMANCE_STUBS names.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import os
import signal
import struct
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import uvloop

import parley_wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    _Context = grpc.aio.ServicerContext[Any, Any]

sys.path.insert(0, os.environ["PARLEY_CONFORMANCE_STUBS"])
service_pb2: Any = importlib.import_module("connectrpc.conformance.v1.service_pb2")
compat_pb2: Any = importlib.import_module("connectrpc.conformance.v1.server_compat_pb2")
any_pb2: Any = importlib.import_module("google.protobuf.any_pb2")
status_pb2: Any = importlib.import_module("google.rpc.status_pb2")

CODES = {code.value[0]: code for code in grpc.StatusCode}


def metadata_of(headers: Any) -> tuple[tuple[str, str | bytes], ...]:
    """Headers of a definition as metadata. Binary values are named by their suffix and come as base64."""
    pairs: list[tuple[str, str | bytes]] = []
    for header in headers:
        name = header.name.lower()
        for value in header.value:
            binary = base64.b64decode(value + "=" * (-len(value) % 4)) if name.endswith("-bin") else value
            pairs.append((name, binary))
    return tuple(pairs)


def request_info(context: _Context, requests: list[Any], *, first: bool = True) -> Any:
    """What came, as the runner wants to hear it."""
    info = service_pb2.ConformancePayload.RequestInfo(requests=requests)
    if first:
        pairs: Any = context.invocation_metadata()
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            text = base64.b64encode(value).decode().rstrip("=") if isinstance(value, bytes) else value
            values.setdefault(name, []).append(text)
        for name, texts in values.items():
            info.request_headers.add(name=name, value=texts)
        left = context.time_remaining()
        if left is not None:
            info.timeout_ms = int(left * 1000)
    return info


def packed(message: Any) -> Any:
    """The message as an Any."""
    wrapped = any_pb2.Any()
    wrapped.Pack(message)
    return wrapped


async def fail(context: _Context, error: Any, trailers: Any, info: Any | None) -> None:
    """End the call as the definition says."""
    details = list(error.details) + ([packed(info)] if info is not None else [])
    status = status_pb2.Status(code=error.code, message=error.message, details=details)
    trailing = (*trailers, ("grpc-status-details-bin", status.SerializeToString()))
    await context.abort(CODES[error.code], error.message, trailing)


class Conformance:
    """connectrpc.conformance.v1.ConformanceService."""

    async def unary(self, request: Any, context: _Context, response: Any) -> Any:
        """Unary and IdempotentUnary."""
        return await self._single(request.response_definition, [packed(request)], context, response)

    async def client_stream(self, requests: AsyncIterator[Any], context: _Context) -> Any:
        """The definition is in the first request."""
        definition = None
        seen = []
        async for request in requests:
            if definition is None:
                definition = request.response_definition
            seen.append(packed(request))
        return await self._single(
            definition or service_pb2.UnaryResponseDefinition(),
            seen,
            context,
            service_pb2.ClientStreamResponse,
        )

    async def server_stream(self, request: Any, context: _Context) -> AsyncIterator[Any]:
        """As many answers as defined."""
        definition = request.response_definition
        info = request_info(context, [packed(request)])
        trailers = await self._begin(definition, context, send=True)
        for at, data in enumerate(definition.response_data):
            await asyncio.sleep(definition.response_delay_ms / 1000)
            payload = service_pb2.ConformancePayload(data=data, request_info=info if at == 0 else None)
            yield service_pb2.ServerStreamResponse(payload=payload)
        if definition.HasField("error"):
            await fail(context, definition.error, trailers, None if definition.response_data else info)

    async def bidi_stream(self, requests: AsyncIterator[Any], context: _Context) -> AsyncIterator[Any]:
        """Answer by answer, or all answers after the last request."""
        definition: Any = None
        trailers: Any = ()
        full_duplex = False
        seen: list[Any] = []
        sent = 0

        def answer(info: Any | None) -> Any:
            payload = service_pb2.ConformancePayload(data=definition.response_data[sent], request_info=info)
            return service_pb2.BidiStreamResponse(payload=payload)

        async for request in requests:
            seen.append(packed(request))
            if definition is None:
                definition = request.response_definition
                full_duplex = request.full_duplex
                trailers = await self._begin(definition, context, send=full_duplex)
            if full_duplex:
                if sent >= len(definition.response_data):
                    break
                await asyncio.sleep(definition.response_delay_ms / 1000)
                yield answer(request_info(context, seen, first=sent == 0))
                sent += 1
                seen = []
        if definition is None:
            return
        if not full_duplex:
            await context.send_initial_metadata(metadata_of(definition.response_headers))
        while sent < len(definition.response_data):
            await asyncio.sleep(definition.response_delay_ms / 1000)
            yield answer(request_info(context, seen) if sent == 0 else None)
            sent += 1
        if definition.HasField("error"):
            info = None if sent else request_info(context, seen)
            await fail(context, definition.error, trailers, info)

    async def _begin(self, definition: Any, context: _Context, *, send: bool) -> Any:
        """Note headers and trailers of a streaming answer."""
        trailers = metadata_of(definition.response_trailers)
        context.set_trailing_metadata(trailers)
        if send:
            await context.send_initial_metadata(metadata_of(definition.response_headers))
        return trailers

    async def _single(self, definition: Any, requests: list[Any], context: _Context, response: Any) -> Any:
        info = request_info(context, requests)
        trailers = metadata_of(definition.response_trailers)
        context.set_trailing_metadata(trailers)
        if definition.response_headers:
            await context.send_initial_metadata(metadata_of(definition.response_headers))
        await asyncio.sleep(definition.response_delay_ms / 1000)
        if definition.WhichOneof("response") == "error":
            await fail(context, definition.error, trailers, info)
        payload = service_pb2.ConformancePayload(data=definition.response_data, request_info=info)
        return response(payload=payload)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register all methods. Unimplemented is left out: that is its test."""
        pb = service_pb2

        def unary(response: Any) -> Any:
            return lambda request, context: self.unary(request, context, response)

        def coded(make: Any, behaviour: Any, request: Any) -> Any:
            return make(behaviour, request.FromString, lambda message: message.SerializeToString())

        methods = {
            "Unary": coded(grpc.unary_unary_rpc_method_handler, unary(pb.UnaryResponse), pb.UnaryRequest),
            "IdempotentUnary": coded(
                grpc.unary_unary_rpc_method_handler,
                unary(pb.IdempotentUnaryResponse),
                pb.IdempotentUnaryRequest,
            ),
            "ClientStream": coded(
                grpc.stream_unary_rpc_method_handler, self.client_stream, pb.ClientStreamRequest
            ),
            "ServerStream": coded(
                grpc.unary_stream_rpc_method_handler, self.server_stream, pb.ServerStreamRequest
            ),
            "BidiStream": coded(
                grpc.stream_stream_rpc_method_handler, self.bidi_stream, pb.BidiStreamRequest
            ),
        }
        server.add_registered_method_handlers("connectrpc.conformance.v1.ConformanceService", methods)


async def serve(wanted: Any, folder: Path) -> None:
    """Serve as wanted until SIGTERM, and say where."""
    limit = wanted.message_receive_limit or 64 * 1024 * 1024
    server = parley_wire.Server(parley_wire.ServerOptions(receive_message_bytes=limit))
    Conformance().add_to(server)
    answer = compat_pb2.ServerCompatResponse(host="127.0.0.1")
    if wanted.use_tls:
        files = {name: folder / name for name in ("cert", "key", "ca")}
        files["cert"].write_bytes(wanted.server_creds.cert)
        files["key"].write_bytes(wanted.server_creds.key)
        files["ca"].write_bytes(wanted.client_tls_cert)
        authority = files["ca"] if wanted.client_tls_cert else None
        credentials = parley_wire.tls_server_credentials(
            files["cert"], files["key"], client_ca_file=authority
        )
        answer.port = server.add_secure_port("127.0.0.1:0", credentials)
        answer.pem_cert = wanted.server_creds.cert
    else:
        answer.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    encoded = answer.SerializeToString()
    sys.stdout.buffer.write(struct.pack(">L", len(encoded)) + encoded)
    sys.stdout.buffer.flush()
    await ended.wait()
    await server.stop(0)


def main() -> None:
    """Read what is wanted, and serve."""
    (size,) = struct.unpack(">L", sys.stdin.buffer.read(4))
    wanted = compat_pb2.ServerCompatRequest.FromString(sys.stdin.buffer.read(size))
    with tempfile.TemporaryDirectory(prefix="parley-conformance-") as folder:
        uvloop.run(serve(wanted, Path(folder)))


if __name__ == "__main__":
    main()
