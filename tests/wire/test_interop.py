"""Clients that nobody here wrote: grpcio (synchronous), grpclib, grpcurl, curl, nghttp, h2load.

grpcio's asynchronous client is in test_servicers.py, grpc-go in test_grpc_go.py. Programs that are not
installed are skipped.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import grpc
import grpclib.client
import grpclib.const
import grpclib.encoding.base
import grpclib.exceptions
import pytest
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

import parley_wire
from parley_wire import frames
from parley_wire.connection import Connection
from parley_wire.events import DataReceived
from parley_wire.headers import encode
from parley_wire.limits import Limits
from parley_wire.options import ServerOptions
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.peer import REQUEST, message
from parley_wire.testing.raw_handlers import Mirror

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import StartServer


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: `make deps` does it where it may")
    return found


async def run(*command: str | Path) -> str:
    """The output of a program, which must end well."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_grpcio_synchronous(start_server: StartServer) -> None:
    """All kinds of calls, deadlines and cancellation, from a thread."""
    service = EchoService()
    _, address = await start_server(service.add_to)

    def talk() -> None:
        with grpc.insecure_channel(address) as channel:
            path = f"/{SERVICE}"
            unary: Any = channel.unary_unary(f"{path}/Unary")
            assert unary(b"hi") == b"hi"
            assert len(unary(b"large:4000000")) == 4_000_000
            stream: Any = channel.unary_stream(f"{path}/Stream")
            assert list(stream(b"3")) == [b"0", b"1", b"2"]
            collect: Any = channel.stream_unary(f"{path}/Collect")
            assert collect(iter([b"ab", b"c"])) == b"3"
            both: Any = channel.stream_stream(f"{path}/Both")
            assert list(both(iter([b"a", b"b"]))) == [b"a", b"b"]
            seconds = 0.3
            while "sleeping" not in service.log:
                # On a busy machine the time may be over before the handler begins.
                with pytest.raises(grpc.RpcError) as raised:
                    unary(b"sleep", timeout=seconds)
                error: Any = raised.value
                assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                seconds *= 2
            call = unary.future(b"sleep")
            call.cancel()
            assert call.cancelled()

    await asyncio.to_thread(talk)
    await service.until("cancelled")


class Bytes(grpclib.encoding.base.CodecBase):
    """grpclib's codec for messages that are bytes."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


async def test_grpclib(start_server: StartServer) -> None:
    """All kinds of calls; status, deadlines."""
    service = EchoService()
    _, address = await start_server(service.add_to)
    host, _, port = address.rpartition(":")
    async with grpclib.client.Channel(host, int(port), codec=Bytes()) as channel:
        kinds = grpclib.const.Cardinality

        def method(name: str, cardinality: grpclib.const.Cardinality) -> Any:
            return channel.request(f"/{SERVICE}/{name}", cardinality, bytes, bytes, timeout=10)

        async with method("Unary", kinds.UNARY_UNARY) as stream:
            await stream.send_message(b"large:1000000", end=True)
            assert len(await stream.recv_message()) == 1_000_000
        async with method("Stream", kinds.UNARY_STREAM) as stream:
            await stream.send_message(b"3", end=True)
            assert [answer async for answer in stream] == [b"0", b"1", b"2"]
        async with method("Collect", kinds.STREAM_UNARY) as stream:
            await stream.send_message(b"ab")
            await stream.send_message(b"c", end=True)
            assert await stream.recv_message() == b"3"
        async with method("Both", kinds.STREAM_STREAM) as stream:
            for part in (b"a", b"b" * 100_000):
                await stream.send_message(part)
                assert await stream.recv_message() == part
            await stream.end()
            assert await stream.recv_message() is None
        with pytest.raises(grpclib.exceptions.GRPCError) as raised:
            async with method("Unary", kinds.UNARY_UNARY) as stream:
                await stream.send_message(b"abort", end=True)
                await stream.recv_message()
        assert (raised.value.status, raised.value.message) == (
            grpclib.const.Status.NOT_FOUND,
            "näh, 100%\n",
        )
        async with method("Unary", kinds.UNARY_UNARY) as stream:
            await stream.send_message(b"sleep", end=True)
            await service.until("sleeping")
            await stream.cancel()
        await service.until("cancelled")


@pytest.mark.needs_go
async def test_grpcurl(start_server: StartServer, grpcurl: Path) -> None:
    """grpc-go below it: reflection, then a call."""

    def register(server: grpc.aio.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
        reflection.enable_server_reflection(["grpc.health.v1.Health"], server)

    try:
        _, address = await start_server(register)
    except TypeError:
        pytest.fail("enable_server_reflection must find an asynchronous server")
    assert "grpc.health.v1.Health" in await run(grpcurl, "-plaintext", address, "list")
    answer = await run(grpcurl, "-plaintext", "-d", "{}", address, "grpc.health.v1.Health/Check")
    assert json.loads(answer) == {"status": "SERVING"}
    assert "NotFound" in await failing(
        grpcurl, "-plaintext", "-d", '{"service":"x"}', address, "grpc.health.v1.Health/Check"
    )


async def failing(*command: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode
    return output.decode()


async def test_curl(start_server: StartServer, tmp_path: Path) -> None:
    """A gRPC call by hand, and what a browser's request gets."""
    curl = program("curl")
    _, address = await start_server(EchoService().add_to)
    request, response = tmp_path / "request", tmp_path / "response"
    request.write_bytes(message(b"hi"))
    head = await run(
        *(curl, "-sS", "--http2-prior-knowledge", "-D", "-", "-o", response),
        *("-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", f"@{request}"),
        f"http://{address}/{SERVICE}/Unary",
    )
    assert head.startswith("HTTP/2 200")
    assert "grpc-status: 0" in head
    assert response.read_bytes() == message(b"hi")
    page = await run(curl, "-sS", "--http2-prior-knowledge", "-i", f"http://{address}/")
    assert page.startswith("HTTP/2 405") and "allow: POST" in page and "gRPC" in page


async def test_nghttp(start_server: StartServer, tmp_path: Path) -> None:
    """Many requests on one connection, with padding and with window updates."""
    nghttp = program("nghttp")
    _, address = await start_server(EchoService().add_to)
    request = tmp_path / "request"
    request.write_bytes(message(b"large:200000"))
    output = await run(
        *(nghttp, "-v", "-n", "-m", "20", "-b", "200", "-d", request),
        *("-H", "content-type: application/grpc", "-H", "te: trailers"),
        f"http://{address}/{SERVICE}/Unary",
    )
    assert len(re.findall("grpc-status: 0", output)) == 20


@pytest.mark.parametrize(("requests", "connections", "streams"), [(4000, 20, 20), (2000, 1, 1000)])
async def test_h2load(
    start_server: StartServer, tmp_path: Path, requests: int, connections: int, streams: int
) -> None:
    """Every request succeeds, at the limit of streams too. Found by this: a stream counted until its
    handler's task was through, so that the answer could be read, and the next request refused, before that.
    """
    h2load = program("h2load")
    _, address = await start_server(EchoService().add_to)
    request = tmp_path / "request"
    request.write_bytes(message(b"hi"))
    output = await run(
        *(h2load, "-n", str(requests), "-c", str(connections), "-m", str(streams), "-d", request),
        *("-H", "content-type: application/grpc", "-H", "te: trailers"),
        f"http://{address}/{SERVICE}/Unary",
    )
    assert f"{requests} succeeded, 0 failed, 0 errored" in output


class ManyStreams(asyncio.Protocol):
    """Our client's core over a socket: opens many streams at once and counts the answers."""

    def __init__(self, count: int) -> None:
        self.core = Connection(client=True, limits=Limits())
        self.answered = asyncio.get_running_loop().create_future()
        self._left = count
        self._count = count

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self.core.start()
        self.flush()

    def data_received(self, data: bytes) -> None:
        opened = bool(self.core.streams.open) or self._left < self._count
        for event in self.core.receive(data, 0.0):
            if isinstance(event, DataReceived):
                self.core.consumed(event.stream, len(event.data))
                self._left -= 1
        if not opened and self.core.can_open:
            fields = [(n, f"/{SERVICE}/Raw".encode() if n == b":path" else v) for n, v in REQUEST]
            block = encode(fields)
            for _ in range(self._count):
                stream = self.core.open_stream(block, end_stream=False)
                self.core.sender.data(stream, message(b"hi"))
        self.flush()
        if self._left == 0 and not self.answered.done():
            self.answered.set_result(len(self.core.streams.open))

    def flush(self) -> None:
        while self.core.sender.has_more:
            self._transport.write(self.core.sender.take())


def register_raw(server: grpc.aio.Server) -> None:
    server.add_registered_method_handlers(
        SERVICE, {"Raw": parley_wire.RawMethod(Mirror, request_streaming=True)}
    )


@pytest.mark.slow
async def test_ten_thousand_streams_on_one_connection(start_server: StartServer) -> None:
    """All open at once, all answered, all gone afterwards."""
    asyncio.get_running_loop().set_debug(False)
    options = ServerOptions(limits=Limits(streams_per_connection=10_000))
    server, address = await start_server(register_raw, options=options)
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(lambda: ManyStreams(10_000), host, int(port))
    async with asyncio.timeout(60):
        assert await client.answered == 10_000
        assert server.calls == 10_000
        transport.close()
        while server.calls:  # noqa: ASYNC110  # the server has no event for this
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_five_thousand_connections(start_server: StartServer, tmp_path: Path) -> None:
    """h2load opens them all, with two requests on each."""
    # The loop's debugging makes this several times as slow.
    asyncio.get_running_loop().set_debug(False)
    h2load = program("h2load")
    _, address = await start_server(EchoService().add_to)
    request = tmp_path / "request"
    request.write_bytes(message(b"hi"))
    output = await run(
        *(h2load, "-n", "10000", "-c", "5000", "-m", "2", "-d", request),
        *("-H", "content-type: application/grpc", "-H", "te: trailers"),
        f"http://{address}/{SERVICE}/Unary",
    )
    assert "10000 succeeded, 0 failed, 0 errored" in output


def test_the_preface_is_the_protocols() -> None:
    """RFC 9113, section 3.4, to the byte."""
    assert frames.PREFACE.hex() == "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a"
