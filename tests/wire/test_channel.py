"""The client: calls as bytes over one connection, against our server and grpc.aio's."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

import parley_wire
from parley_wire import CallFailed, Channel, ChannelOptions, frames
from parley_wire.backoff import Backoff
from parley_wire.limits import Limits
from parley_wire.options import ServerOptions
from parley_wire.testing.echo_service import SERVICE, EchoService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from .conftest import Certificate, StartServer

UNARY, BOTH, STREAM = (f"/{SERVICE}/{name}" for name in ("Unary", "Both", "Stream"))


class World:
    """A server of one kind, its service, and our client."""

    def __init__(self, server: grpc.aio.Server, service: EchoService, channel: Channel) -> None:
        self.server = server
        self.service = service
        self.channel = channel


@pytest.fixture(params=["wire", "grpcio"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    server = parley_wire.Server() if request.param == "wire" else grpc.aio.server()
    service = EchoService()
    service.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with Channel(f"127.0.0.1:{port}") as channel:
        yield World(server, service, channel)
    await server.stop(0)


async def failure(call: Any) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        await call
    return raised.value


@pytest.mark.parametrize("size", [0, 1, 16_380, 70_000, 3_000_000])
async def test_unary_of_any_size(world: World, size: int) -> None:
    """Both ways."""
    assert await world.channel.unary(UNARY, b"y" * size) == b"y" * size


async def test_many_calls_at_once(world: World) -> None:
    """Each gets its own answer, on one connection."""
    answers = await asyncio.gather(*(world.channel.unary(UNARY, str(at).encode()) for at in range(300)))
    assert answers == [str(at).encode() for at in range(300)]


async def test_a_failure_with_everything(world: World) -> None:
    """Code, message, trailing metadata."""
    failed = await failure(world.channel.unary(UNARY, b"abort"))
    assert (failed.code, failed.details) == (grpc.StatusCode.NOT_FOUND, "näh, 100%\n")
    assert set(failed.trailing_metadata) >= {("why", "asked"), ("why-bin", b"\0\xff")}


async def test_metadata_both_ways(world: World) -> None:
    """Text and binary."""
    sent = (("x-text", "a"), ("x-bytes-bin", b"\0\xff"))
    async with await world.channel.open(UNARY, metadata=sent) as call:
        await call.write(b"meta")
        call.done_writing()
        assert await call.read() == repr(sorted(sent)).encode()
        assert await call.read() is None
        assert set(call.initial_metadata or ()) >= {("first", "1"), ("first-bin", b"\1")}
        assert ("last", "2") in call.trailing_metadata


async def test_a_deadline(world: World) -> None:
    """Fails here in time, and cancels the handler there."""
    seconds = 0.3
    while "sleeping" not in world.service.log:
        # On a busy machine the time may be over before the handler begins.
        failed = await failure(world.channel.unary(UNARY, b"sleep", timeout=seconds))
        assert failed.code is grpc.StatusCode.DEADLINE_EXCEEDED
        seconds *= 2
    await world.service.until("cancelled")


async def test_leaving_a_call_cancels_it(world: World) -> None:
    """The handler hears of it, and what was read stays read."""
    async with await world.channel.open(UNARY) as call:
        call.send(b"sleep")
        call.done_writing()
        await world.service.until("sleeping")
    await world.service.until("cancelled")
    assert (await failure(call.read())).code is grpc.StatusCode.CANCELLED


async def test_streams(world: World) -> None:
    """Turn by turn with large messages; a server's stream to its end, and to its failure."""
    async with await world.channel.open(BOTH) as call:
        for size in (0, 1, 20_000, 300_000):
            await call.write(b"z" * size)
            assert await call.read() == b"z" * size
        call.done_writing()
        assert await call.read() is None
    async with await world.channel.open(STREAM) as call:
        call.send(b"1000")
        call.done_writing()
        assert [answer async for answer in call] == [str(at).encode() for at in range(1000)]
    async with await world.channel.open(STREAM) as call:
        call.send(b"2:abort")
        call.done_writing()
        assert [await call.read(), await call.read()] == [b"0", b"1"]
        assert (await failure(call.read())).code is grpc.StatusCode.ABORTED


async def test_writing_waits_for_the_server(world: World) -> None:
    """A server that reads nothing stops the writer; it goes on when the call is given up."""
    async with await world.channel.open(f"/{SERVICE}/Write") as call:
        writing = asyncio.create_task(call.write(b"x" * 3_000_000))
        _, pending = await asyncio.wait([writing], timeout=0.3)
        if pending:
            call.cancel()
        with contextlib.suppress(CallFailed):
            await writing


async def test_a_response_over_the_limit(start_server: StartServer) -> None:
    """RESOURCE_EXHAUSTED; the connection goes on."""
    _, address = await start_server(EchoService().add_to)
    async with Channel(address, options=ChannelOptions(receive_message_bytes=1000)) as channel:
        failed = await failure(channel.unary(UNARY, b"large:1001"))
        assert failed.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await channel.unary(UNARY, b"hi") == b"hi"


async def test_compressed_responses(start_server: StartServer) -> None:
    """What the server compresses is read."""
    _, address = await start_server(EchoService().add_to)
    async with Channel(address) as channel:
        assert await channel.unary(UNARY, b"gzip:answer") == b"answer" * 1000


async def test_calls_wait_for_the_servers_limit(start_server: StartServer) -> None:
    """Two at a time: the third waits, with its deadline; all are served in the end, those too that the server
    refused because a handler had not quite ended. Planted: with the waiting calls never woken, this hung.
    """
    service = EchoService()
    _, address = await start_server(
        service.add_to, options=ServerOptions(limits=Limits(streams_per_connection=2))
    )
    async with Channel(address, options=ChannelOptions(waiting_calls=20)) as channel:
        assert len(await asyncio.gather(*(channel.unary(UNARY, b"x") for _ in range(20)))) == 20
        first, second = await channel.open(BOTH), await channel.open(BOTH)
        assert (await failure(channel.unary(UNARY, b"x", timeout=0.2))).code is (
            grpc.StatusCode.DEADLINE_EXCEEDED
        )
        waiting = [asyncio.create_task(channel.unary(UNARY, b"x")) for _ in range(20)]
        await asyncio.sleep(0)
        too_many = await failure(channel.unary(UNARY, b"x"))
        assert too_many.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        first.cancel()
        second.cancel()
        assert len(await asyncio.gather(*waiting)) == 20


async def test_a_server_that_comes_back(start_server: StartServer) -> None:
    """Open calls fail; the next call connects again once the back-off is over."""
    server, address = await start_server(EchoService().add_to)
    options = ChannelOptions(first_backoff_seconds=0.05)
    async with Channel(address, options=options) as channel:
        call = await channel.open(BOTH)
        await call.write(b"x")
        assert await call.read() == b"x"
        await server.stop(0)
        assert (await failure(call.read())).code is grpc.StatusCode.UNAVAILABLE
        gone = await failure(channel.unary(UNARY, b"x"))
        assert gone.code is grpc.StatusCode.UNAVAILABLE
        assert address in gone.details
        # Within the back-off nobody tries again.
        assert (await failure(channel.unary(UNARY, b"x"))).details == gone.details
        await start_server(EchoService().add_to, address=address)
        async with asyncio.timeout(5):
            while True:
                try:
                    assert await channel.unary(UNARY, b"hi") == b"hi"
                    break
                except CallFailed:
                    await asyncio.sleep(0.02)


async def test_a_server_that_sends_us_away(start_server: StartServer) -> None:
    """New calls go over a new connection while the old call ends in peace."""
    options = ServerOptions(connection_age_seconds=0.2, sweep_seconds=0.02)
    _, address = await start_server(EchoService().add_to, options=options)
    async with Channel(address) as channel:
        old = await channel.open(BOTH)
        async with asyncio.timeout(10):
            while not _going(channel):  # noqa: ASYNC110  # the channel has no event for it
                await asyncio.sleep(0.01)
        assert await channel.unary(UNARY, b"new") == b"new"
        await old.write(b"old")
        assert await old.read() == b"old"
        old.done_writing()
        assert await old.read() is None


def _going(channel: Channel) -> bool:
    connection = channel._connection
    return connection is not None and connection.retired


async def test_nobody_there() -> None:
    """UNAVAILABLE with the address, soon."""
    async with Channel("127.0.0.1:1") as channel:
        failed = await failure(channel.unary(UNARY, b""))
    assert failed.code is grpc.StatusCode.UNAVAILABLE
    assert "127.0.0.1:1" in failed.details


async def test_a_server_that_says_nothing() -> None:
    """Neither to the handshake nor, later, to a ping."""
    said = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if said.is_set():
            writer.write(frames.settings(()))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    options = ChannelOptions(
        connect_seconds=1.0,
        first_backoff_seconds=0.01,
        keepalive_seconds=0.1,
        keepalive_timeout_seconds=0.1,
    )
    async with Channel(address, options=options) as channel:
        assert "too long" in (await failure(channel.unary(UNARY, b""))).details
        said.set()
        await asyncio.sleep(0.05)
        failed = await failure(channel.unary(UNARY, b""))
        assert (failed.code, failed.details) == (
            grpc.StatusCode.UNAVAILABLE,
            "the server does not answer",
        )
    server.close()
    await server.wait_closed()


async def test_tls_and_unix(
    start_server: StartServer, make_certificate: Callable[[str], Certificate], tmp_path: Path
) -> None:
    """A trusted server is called, another is not; a unix socket works as well."""
    own, other = make_certificate("localhost"), make_certificate("stranger")
    credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
    _, address = await start_server(EchoService().add_to, credentials=credentials)
    trusted = parley_wire.tls_client_context(own.certificate_file)
    async with Channel(address, tls=trusted) as channel:
        assert await channel.unary(UNARY, b"x" * 500_000) == b"x" * 500_000
    async with Channel(address, tls=parley_wire.tls_client_context(other.certificate_file)) as channel:
        assert (await failure(channel.unary(UNARY, b""))).code is grpc.StatusCode.UNAVAILABLE
    _, path = await start_server(EchoService().add_to, address=f"unix:{tmp_path / 'socket'}")
    async with Channel(path) as channel:
        assert await channel.unary(UNARY, b"hi") == b"hi"


async def test_closing_leaves_nothing(world: World) -> None:
    """Open calls fail; no task runs on."""
    channel = world.channel
    call = await channel.open(BOTH)
    reading = asyncio.create_task(call.read())
    await asyncio.sleep(0)
    await channel.close()
    assert (await failure(reading)).code is grpc.StatusCode.UNAVAILABLE
    assert (await failure(channel.unary(UNARY, b""))).details == "the channel was closed"


def test_backoff_grows_and_is_spread() -> None:
    """To its bound; a success begins anew."""
    backoff = Backoff(1.0, 3.0, lambda low, high: high)
    assert [round(backoff.failed(), 2) for _ in range(5)] == [1.2, 1.92, 3.07, 3.6, 3.6]
    backoff.succeeded()
    assert round(backoff.failed(), 2) == 1.2
