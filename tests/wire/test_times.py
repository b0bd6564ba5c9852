"""What may not take for ever: prefaces, headers, bodies, silence, readers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import parley_wire
from parley_wire import frames
from parley_wire.errors import ErrorCode
from parley_wire.headers import encode
from parley_wire.limits import Limits
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import message, split
from parley_wire.testing.quick_options import quick_options
from parley_wire.testing.raw_handlers import Quiet
from parley_wire.testing.socket_peer import SocketPeer, blocked_socket

if TYPE_CHECKING:
    from .conftest import StartServer


@pytest.mark.parametrize("sent", [b"", frames.PREFACE[:10], frames.PREFACE])
async def test_a_slow_preface(start_server: StartServer, sent: bytes) -> None:
    """Without SETTINGS in time the connection is closed."""
    _, address = await start_server(options=quick_options(handshake_seconds=0.1))
    async with SocketPeer(address) as peer:
        peer.write(sent)
        await peer.until_closed()


async def test_an_idle_connection_stays(start_server: StartServer) -> None:
    """Once it shook hands."""
    _, address = await start_server(EchoService().add_to, options=quick_options(handshake_seconds=0.1))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        await asyncio.sleep(0.3)
        peer.request(1, "Unary")
        peer.body(1, message(b"hi"), end_stream=True)
        await peer.trailers(1)


@pytest.mark.parametrize(
    "begun",
    [frames.frame(frames.HEADERS, 0, 1, b""), frames.frame(frames.HEADERS, 4, 1, b"x" * 50)[:20]],
    ids=["between frames", "within one"],
)
async def test_slow_headers(start_server: StartServer, begun: bytes) -> None:
    """A block that began and does not end. Planted: looking at whole frames only, one that came a byte at a
    time was waited for without end.
    """
    _, address = await start_server(options=quick_options(header_seconds=0.1))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.write(begun)
        last = (await peer.until_closed())[-1]
        assert (last.kind, last.code) == (frames.GOAWAY, ErrorCode.ENHANCE_YOUR_CALM)


async def test_a_slow_body(start_server: StartServer) -> None:
    """A request that does not end: its call is over; the connection goes on."""
    server, address = await start_server(EchoService().add_to, options=quick_options(request_seconds=0.1))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, "Unary")
        peer.body(1, b"\0\0\0\0\x05h")
        assert b"grpc-status\x014" in (await peer.trailers(1)).payload
        peer.request(3, "Unary")
        peer.body(3, message(b"hi"), end_stream=True)
        await peer.trailers(3)
    assert server.partial_bytes == 0


async def test_a_slow_body_of_other_kinds(start_server: StartServer) -> None:
    """A raw method with one request, and a request that is not gRPC: neither waits for ever. Planted:
    with the waiting not noted, both did.
    """
    quiet = parley_wire.RawMethod(Quiet, request_streaming=False)
    server, address = await start_server(
        lambda server: server.add_registered_method_handlers(SERVICE, {"Raw": quiet}),
        options=quick_options(request_seconds=0.1),
    )
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, "Raw")
        assert b"grpc-status\x014" in (await peer.trailers(1)).payload
        fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/")]
        peer.write(frames.headers(3, encode(fields), end_stream=False))
        assert (await peer.until(frames.RST_STREAM, 3)).code == ErrorCode.CANCEL
    await until(lambda: server.calls == 0)


async def test_keep_alive(start_server: StartServer) -> None:
    """Pinged when silent; closed when the answer does not come."""
    options = quick_options(keepalive_seconds=0.1, keepalive_timeout_seconds=0.2)
    _, address = await start_server(options=options)
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        for _ in range(2):
            while (ping := await peer.until(frames.PING)).flags:
                pass
            peer.write(frames.ping(ping.payload, ack=True))
        await peer.until_closed()


async def test_connection_age(start_server: StartServer) -> None:
    """Told to go, with time for its calls; each at an age of its own."""
    options = quick_options(connection_age_seconds=0.1, connection_age_grace_seconds=5.0)
    _, address = await start_server(EchoService().add_to, options=options)
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, "Both")
        await peer.until(frames.GOAWAY)
        peer.write(frames.ping(frames.SHUTDOWN_PING, ack=True))
        peer.body(1, message(b"hi"), end_stream=True)
        await peer.trailers(1)
        await peer.until_closed()
    ages = {parley_wire.Server(options).connection_age() for _ in range(10)}
    assert len(ages) > 5 and all(0.09 <= age <= 0.11 for age in ages)


async def test_a_request_that_crosses_the_goaway(start_server: StartServer) -> None:
    """An idle connection is told to go; a request that was on its way then is served all the same.
    Planted: closed right after the first GOAWAY, it was lost.
    """
    _, address = await start_server(EchoService().add_to, options=quick_options(connection_age_seconds=0.1))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        await peer.until(frames.GOAWAY)
        peer.request(1, "Unary")
        peer.body(1, message(b"hi"), end_stream=True)
        await peer.trailers(1)
        peer.write(frames.ping(frames.SHUTDOWN_PING, ack=True))
        assert (await peer.until(frames.GOAWAY)).number == 1
        assert await peer.until_closed() == []


async def test_a_peer_that_takes_nothing(start_server: StartServer) -> None:
    """A stream whose window stays shut is reset: here each answer waits for a window of no bytes."""
    server, address = await start_server(EchoService().add_to, options=quick_options(send_stall_seconds=0.2))
    async with SocketPeer(address) as peer:
        peer.shake_hands(((4, 0),))
        peer.request(1, "Unary")
        peer.body(1, message(b"hi"), end_stream=True)
        reset = await peer.until(frames.RST_STREAM, 1)
        assert reset.code == ErrorCode.CANCEL
    await until(lambda: server.calls == 0)


async def test_a_socket_that_is_never_read(start_server: StartServer) -> None:
    """The whole connection is closed; meanwhile what waits is bounded."""
    options = quick_options(send_stall_seconds=0.5, write_buffer_bytes=1000)
    server, address = await start_server(EchoService().add_to, options=options)
    peer = await blocked_socket(address)
    peer.sendall(b"".join(frames.ping(b"12345678", ack=False) for _ in range(150)))
    await until(lambda: server.calls > 0)
    await until(lambda: server.calls == 0)
    peer.close()


async def test_a_socket_that_is_read_late(start_server: StartServer) -> None:
    """While nobody reads, questions are not heard either; then everything comes, in order and whole."""
    limits = Limits(control_backlog_bytes=1000)
    options = quick_options(write_buffer_bytes=1000, limits=limits)
    server, address = await start_server(EchoService().add_to, options=options)
    peer = await blocked_socket(address)
    await until(lambda: server.calls > 0)
    for _ in range(20):
        peer.sendall(frames.ping(b"12345678", ack=False) * 8)
        await asyncio.sleep(0.005)
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    received = bytearray()
    async with asyncio.timeout(30):
        while not received.endswith(encode([(b"grpc-status", b"0")])):
            part = await loop.sock_recv(peer, 1_000_000)
            assert part
            received += part
        while received.count(b"12345678") < 160:
            received += await loop.sock_recv(peer, 1_000_000)
    body = b"".join(frame.payload for frame in split(bytes(received)) if frame.kind == frames.DATA)
    assert body == message(b"x" * 10_000_000)
    peer.close()
