"""What servers may answer our client, and what it makes of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from parley_wire import CallFailed, Channel, frames
from parley_wire.headers import encode
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.peer import RESPONSE, message

if TYPE_CHECKING:
    from .conftest import StartServer

UNARY, BOTH, COLLECT = (f"/{SERVICE}/{name}" for name in ("Unary", "Both", "Collect"))
GRPC = list(RESPONSE)


async def failure(call: Any) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        await call
    return raised.value


ANSWERS = {
    "an HTTP page": (
        frames.headers(1, encode([(b":status", b"503")]), end_stream=True),
        grpc.StatusCode.UNAVAILABLE,
    ),
    "another content": (
        frames.headers(1, encode([(b":status", b"200"), (b"content-type", b"text/html")]), end_stream=False),
        grpc.StatusCode.UNKNOWN,
    ),
    "no trailers": (
        frames.headers(1, encode(GRPC), end_stream=False)
        + frames.frame(frames.DATA, frames.END_STREAM, 1, message(b"x")),
        grpc.StatusCode.INTERNAL,
    ),
    "no status": (
        frames.headers(1, encode(GRPC), end_stream=True),
        grpc.StatusCode.UNKNOWN,
    ),
    "reset": (frames.rst_stream(1, 8), grpc.StatusCode.CANCELLED),
    "gone away": (frames.goaway(0, 0, b"bye"), grpc.StatusCode.UNAVAILABLE),
    "nonsense": (b"x" * 100, grpc.StatusCode.UNAVAILABLE),
    "cut message": (
        frames.headers(1, encode(GRPC), end_stream=False)
        + frames.frame(frames.DATA, 0, 1, b"\0\0\0\0\x05h")
        + frames.headers(1, encode([(b"grpc-status", b"0")]), end_stream=True),
        grpc.StatusCode.INTERNAL,
    ),
    "informational first": (
        frames.headers(1, encode([(b":status", b"103")]), end_stream=False)
        + frames.headers(1, encode([*GRPC, (b"grpc-status", b"5")]), end_stream=True),
        grpc.StatusCode.NOT_FOUND,
    ),
    "an encoding that nobody knows": (
        frames.headers(1, encode([*GRPC, (b"grpc-encoding", b"br")]), end_stream=False),
        grpc.StatusCode.INTERNAL,
    ),
    "metadata that is no base64": (
        frames.headers(1, encode([*GRPC, (b"x-bin", b"???")]), end_stream=False),
        grpc.StatusCode.INTERNAL,
    ),
    "trailers that are no base64": (
        frames.headers(1, encode([*GRPC, (b"grpc-status", b"0"), (b"x-bin", b"???")]), end_stream=True),
        grpc.StatusCode.INTERNAL,
    ),
    "a message that cannot be unpacked": (
        frames.headers(1, encode([*GRPC, (b"grpc-encoding", b"gzip")]), end_stream=False)
        + frames.frame(frames.DATA, 0, 1, message(b"no gzip", 1)),
        grpc.StatusCode.INTERNAL,
    ),
    "compressed without an encoding": (
        frames.headers(1, encode(GRPC), end_stream=False) + frames.frame(frames.DATA, 0, 1, message(b"x", 1)),
        grpc.StatusCode.INTERNAL,
    ),
    "two messages": (
        frames.headers(1, encode(GRPC), end_stream=False)
        + frames.frame(frames.DATA, 0, 1, message(b"x") + message(b"y")),
        grpc.StatusCode.INTERNAL,
    ),
    "no message": (
        frames.headers(
            1,
            encode([*GRPC, (b"grpc-status", b"0")]),
            end_stream=True,
        ),
        grpc.StatusCode.INTERNAL,
    ),
}


@pytest.mark.parametrize(("answer", "code"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_what_a_server_may_answer(answer: bytes, code: grpc.StatusCode) -> None:
    """Every end has a status (gRPC over HTTP/2, "Errors")."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frames.settings(()))
        data = b""
        while UNARY.encode() not in data:
            data += await reader.read(10_000)
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with Channel(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as channel:
        assert (await failure(channel.unary(UNARY, b"hi", timeout=5))).code is code
    server.close()
    await server.wait_closed()


async def test_writing_behind_the_half_close(start_server: StartServer) -> None:
    """Is an error at once. Planted: it waited until the call was over, and said that all was well."""
    _, address = await start_server(EchoService().add_to)
    async with Channel(address) as channel, await channel.open(BOTH, timeout=60) as call:
        call.done_writing()
        async with asyncio.timeout(5):
            assert (await failure(call.write(b"late"))).code is grpc.StatusCode.INTERNAL
        assert call.send(b"late") is False


async def test_writing_to_a_call_that_ends_well_meanwhile(start_server: StartServer) -> None:
    """The server answers before it read everything: whoever waits in `write` hears that nobody reads it."""
    _, address = await start_server(EchoService().add_to)
    async with Channel(address) as channel, await channel.open(COLLECT, timeout=60) as call:
        await call.write(b"stop")
        with pytest.raises(CallFailed) as raised:
            while True:
                await call.write(b"x" * 100_000)
        assert raised.value.code is grpc.StatusCode.INTERNAL
        assert await call.read() == b"0"
        assert await call.read() is None


async def test_iterating(start_server: StartServer) -> None:
    """Over all responses, to the end."""
    _, address = await start_server(EchoService().add_to)
    async with Channel(address) as channel, await channel.open(f"/{SERVICE}/Stream") as call:
        call.send(b"3")
        call.done_writing()
        assert [answer async for answer in call] == [b"0", b"1", b"2"]
