"""How much one client, or all, may have of a server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

import parley_wire
from parley_wire import frames
from parley_wire.errors import ErrorCode
from parley_wire.limits import Limits
from parley_wire.settings import INITIAL_WINDOW_SIZE
from parley_wire.testing.echo_client import call, unary_of
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import message
from parley_wire.testing.quick_options import quick_options
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from .conftest import StartServer


async def test_calls_at_a_time(start_server: StartServer) -> None:
    """RESOURCE_EXHAUSTED for one more, and room again after one ended."""
    service = EchoService()
    _, address = await start_server(service.add_to, options=quick_options(concurrent_calls=1))
    async with grpc.aio.insecure_channel(address) as channel:
        unary = unary_of(channel)
        first = unary(b"sleep")
        await service.until("sleeping")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await unary(b"hi")
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        first.cancel()
        await service.until("cancelled")
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    assert await unary(b"hi") == b"hi"
                    break


async def test_connections_and_connections_per_address(start_server: StartServer) -> None:
    """One more is closed at once."""
    for options in (quick_options(connections=1), quick_options(connections_per_address=1)):
        server, address = await start_server(EchoService().add_to, options=options)
        async with SocketPeer(address) as first:
            first.shake_hands()
            await first.until(frames.SETTINGS)
            async with SocketPeer(address) as second:
                assert await second.until_closed() == []
        await no_connection(server)
        async with SocketPeer(address) as third:
            third.shake_hands()
            await third.until(frames.SETTINGS)


async def no_connection(server: parley_wire.Server) -> None:
    await until(lambda: not server._connections)


async def test_unfinished_messages_of_all_calls(start_server: StartServer) -> None:
    """The call that passes the bound ends; the others go on."""
    server, address = await start_server(
        EchoService().add_to, options=quick_options(partial_messages_bytes=15_000)
    )
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        for stream_id in (1, 3):
            peer.request(stream_id, "Unary")
            peer.body(stream_id, message(b"x" * 20_000)[:10_000])
        assert b"grpc-status\x018" in (await peer.trailers(3)).payload
        peer.body(1, message(b"x" * 20_000)[10_000:], end_stream=True)
        await peer.trailers(1)
    assert server.partial_bytes == 0


async def test_bytes_that_wait_on_all_connections(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of three holds less than it may; together it is too much. The one that holds the most is closed,
    and the others get all of theirs. Planted: with windows that open byte by byte nothing ever ended this.
    """
    options = quick_options(held_bytes=600_000)
    server, address = await start_server(EchoService().add_to, options=options)
    async with contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(SocketPeer(address)) for _ in range(3)]
        for peer, size in zip(peers, (100_000, 200_000, 400_000), strict=True):
            peer.shake_hands(((INITIAL_WINDOW_SIZE, 10),))
            peer.request(1, "Unary")
            peer.body(1, message(f"large:{size}".encode()), end_stream=True)
            if peer is peers[2]:
                # Closed perhaps before it has read anything.
                await peer.until_closed()
            else:
                await peer.until(frames.DATA, 1)
                peer.write(frames.window_update(1, 1))
        for peer, size in zip(peers[:2], (100_000, 200_000), strict=True):
            peer.write(frames.window_update(1, 10_000_000), frames.window_update(0, 10_000_000))
            left = size + 5 - 10
            while left > 0:
                left -= len((await peer.until(frames.DATA, 1)).payload)
            await peer.trailers(1)
    assert "bytes wait on it" in caplog.text
    await until(lambda: server.calls == 0)


async def test_headers_that_are_too_large(start_server: StartServer) -> None:
    """RESOURCE_EXHAUSTED for that call."""
    limits = Limits(header_list_bytes=2000)
    _, address = await start_server(EchoService().add_to, options=quick_options(limits=limits))
    async with grpc.aio.insecure_channel(address) as channel:
        unary = unary_of(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await unary(b"", metadata=(("x", "y" * 3000),))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await unary(b"hi") == b"hi"


async def test_rapid_reset_with_handlers_that_run(start_server: StartServer) -> None:
    """Reset calls whose handlers have not ended yet leave no room for more."""
    released = asyncio.Event()
    running: list[int] = []

    async def stubborn(_requests: object, _context: object) -> None:
        running.append(1)
        try:
            await released.wait()
        except asyncio.CancelledError:
            await released.wait()

    def register(server: grpc.aio.Server) -> None:
        handler: Any = grpc.stream_stream_rpc_method_handler(stubborn)
        server.add_registered_method_handlers(SERVICE, {"Both": handler})

    limits = Limits(streams_per_connection=5)
    server, address = await start_server(register, options=quick_options(limits=limits))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        for stream_id in range(1, 10, 2):
            peer.request(stream_id, "Both")
        await until(lambda: len(running) == 5)
        for stream_id in range(1, 10, 2):
            peer.write(frames.rst_stream(stream_id, ErrorCode.CANCEL))
        peer.request(11, "Both")
        assert (await peer.until(frames.RST_STREAM, 11)).code == ErrorCode.REFUSED_STREAM
        released.set()
        await until(lambda: not server.tasks)
        peer.request(13, "Both")
        await until(lambda: len(running) == 6)
    await until(lambda: not server.tasks and server.calls == 0)


async def test_streams_reset_in_one_breath_start_nothing(start_server: StartServer) -> None:
    """Opened and reset within one read: no handler runs. Planted: without the check, 100 did."""
    service = EchoService()
    server, address = await start_server(service.add_to, options=quick_options())
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        await peer.until(frames.SETTINGS)
        for stream_id in range(1, 200, 2):
            peer.request(stream_id, "Both")
            peer.write(frames.rst_stream(stream_id, ErrorCode.CANCEL))
        peer.write(frames.ping(b"12345678", ack=False))
        await peer.until(frames.PING)
    assert len(service.log) < 20
    await until(lambda: not server.tasks and server.calls == 0)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"keepalive_seconds": -1.0}, "keepalive_seconds must not be negative"),
        ({"connections": -1}, "connections must not be negative"),
        ({"sweep_seconds": 0.0}, "sweep_seconds must be greater than 0"),
    ],
)
def test_options_that_cannot_be_used(settings: dict[str, Any], complaint: str) -> None:
    """ValueError, with the name."""
    with pytest.raises(ValueError, match=complaint):
        parley_wire.ServerOptions(**settings)


async def test_a_synchronous_handler_is_refused(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Loudly: in the log and to the client."""

    def register(server: grpc.aio.Server) -> None:
        handler: Any = grpc.unary_unary_rpc_method_handler(EchoService().synchronous)
        server.add_registered_method_handlers(SERVICE, {"Unary": handler})

    _, address = await start_server(register)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(address)
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert "not asynchronous" in caplog.text
