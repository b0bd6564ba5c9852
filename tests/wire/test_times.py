"""What may not take for ever: prefaces, headers, bodies, silence, readers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import parley_wire
from parley_wire import frames
from parley_wire.errors import ErrorCode
from parley_wire.headers import encode
from parley_wire.limits import Limits
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import REQUEST, Peer, message, split
from parley_wire.testing.quick_options import quick_options
from parley_wire.testing.raw_handlers import Quiet
from parley_wire.testing.socket_peer import SocketPeer, blocked_socket

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import StartServer


@pytest.mark.parametrize("sent", [b"", frames.PREFACE[:10], frames.PREFACE])
async def test_a_slow_preface(start_server: StartServer, sent: bytes) -> None:
    """Without SETTINGS in time the connection is closed."""
    _, address = await start_server(options=quick_options(handshake_seconds=0.1))
    async with SocketPeer(address) as peer:
        peer.write(sent)
        await peer.until_closed()


async def test_an_idle_connection_stays(start_server: StartServer) -> None:
    """Once it shook hands, whenever somebody looks."""
    server, address = await start_server(EchoService().add_to)
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        while not (await peer.until(frames.SETTINGS)).flags & frames.ACK:
            pass
        (connection,) = server._connections
        connection.check(server.loop.time() + 2 * server.options.handshake_seconds)
        peer.request(1, "Unary")
        peer.body(1, message(b"hi"), end_stream=True)
        await peer.trailers(1)


@pytest.mark.parametrize(
    "begun",
    [frames.frame(frames.HEADERS, 0, 1, b""), frames.frame(frames.HEADERS, 4, 1, b"x" * 50)[:20]],
    ids=["between frames", "within one"],
)
async def test_slow_headers(start_server: StartServer, begun: bytes) -> None:
    """A block that began and does not end, whenever times are looked after. Planted: looking at whole frames
    only, one that came a byte at a time was waited for without end.
    """
    _, address = await start_server(options=parley_wire.ServerOptions(header_seconds=0.1, sweep_seconds=600))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.write(begun)
        last = (await peer.until_closed())[-1]
        assert (last.kind, last.code) == (frames.GOAWAY, ErrorCode.ENHANCE_YOUR_CALM)


def block(stream_id: int) -> bytes:
    """A request's headers in two frames."""
    encoded = encode(REQUEST)
    return frames.frame(frames.HEADERS, frames.END_STREAM, stream_id, encoded[:10]) + frames.frame(
        frames.CONTINUATION, frames.END_HEADERS, stream_id, encoded[10:]
    )


@pytest.mark.parametrize("cut", [5, 15, 19, 22, 35], ids=lambda cut: f"{cut} bytes")
def test_when_a_block_began(cut: int) -> None:
    """The time of its first byte, however it comes; nothing else has one. Planted: the time when its first
    frame was whole; the time of the last piece.
    """
    peer = Peer().shake_hands()
    connection = peer.connection
    data = frames.frame(frames.DATA, 0, 1, b"x" * 100)
    began = peer.now
    peer.feed(block(1)[:cut])
    assert connection.header_since == began
    peer.now += 1
    peer.feed(block(1)[cut : cut + 1])
    assert connection.header_since == began
    peer.now += 5
    peer.feed(block(1)[cut + 1 : -1])
    assert connection.header_since == began
    peer.now += 1
    # Its last byte, and the first ones of the next.
    peer.feed(block(1)[-1:] + block(3)[:cut])
    assert connection.header_since == peer.now
    peer.feed(block(3)[cut:])
    assert connection.header_since is None
    peer.feed(data[:50])
    assert connection.header_since is None
    peer.now += 1
    peer.feed(data[50:] + block(5)[:cut])
    assert connection.header_since == peer.now
    connection.fail(ErrorCode.NO_ERROR, "a test's end")
    assert connection.header_since is None


class MovedClock:
    """A loop whose time goes on when a test says so; the rest is the loop's."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.now = 1000.0
        self._timers: list[asyncio.TimerHandle] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *args: object) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self._loop)
        self._timers.append(timer)
        return timer

    def move(self, seconds: float) -> None:
        """Let time pass; what is due runs."""
        self.now += seconds
        due = [timer for timer in self._timers if timer.when() <= self.now]
        self._timers = [timer for timer in self._timers if timer.when() > self.now]
        for timer in due:
            if not timer.cancelled():
                timer._run()


class Discarded(asyncio.Transport):
    """A transport that takes everything."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It never has enough."""

    def write(self, data: object) -> None:
        """Gone."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing depends on it."""


async def test_header_blocks_without_a_pause() -> None:
    """Some block is open whenever somebody looks, but none for long: the client is served. The first one that
    takes too long is its last, and it is cut on time. Planted: looking once a second whether one is open, the
    client of many was cut; with one timer for the first of them, the slow one behind it stayed.
    """
    server = parley_wire.Server(parley_wire.ServerOptions(header_seconds=10))
    clock = MovedClock()
    server.loop = clock  # type: ignore[assignment]
    connection = server.connection()
    connection.connection_made(Discarded())
    connection.data_received(frames.PREFACE + frames.settings(()) + block(1)[:30])
    for stream_id in range(3, 63, 2):
        clock.move(0.875)
        connection.check(clock.now)
        connection.data_received(block(stream_id - 2)[30:] + block(stream_id)[:30])
        assert not connection.core.failed
    clock.move(9.75)
    connection.check(clock.now)
    assert not connection.core.failed
    clock.move(0.25)
    assert connection.core.failed
    connection.connection_lost(None)


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


@pytest.mark.parametrize("cut", ["by a reset", "with the connection"])
@pytest.mark.parametrize("method", ["Unary", "Raw", "no method"])
async def test_a_call_that_is_cut_before_its_request(
    start_server: StartServer, method: str, cut: str
) -> None:
    """Nobody waits for the request any more. Planted, for each kind of call: it was held, and a minute later
    ended once more.
    """
    quiet = parley_wire.RawMethod(Quiet, request_streaming=False)
    server, address = await start_server(
        EchoService().add_to,
        lambda server: server.add_registered_method_handlers(SERVICE, {"Raw": quiet}),
    )
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        if method == "no method":
            fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/")]
            peer.write(frames.headers(1, encode(fields), end_stream=False))
        else:
            peer.request(1, method)
        await until(lambda: len(server._awaited) == 1)
        if cut == "by a reset":
            peer.write(frames.rst_stream(1, ErrorCode.CANCEL))
            await until(lambda: server.calls == 0)
    await until(lambda: server.calls == 0)
    assert not server._awaited


async def test_a_slow_body_whose_status_cannot_be_made(caplog: pytest.LogCaptureFixture) -> None:
    """What the owner adds to a status raises, which it may not: the next slow request ends all the same.
    Planted: nobody looked after any time from then on.
    """
    faults: list[parley_wire.CallFault] = []

    def broken_once(fault: parley_wire.CallFault) -> tuple[tuple[str, str], ...]:
        faults.append(fault)
        if len(faults) == 1:
            raise LookupError("a defect")
        return ()

    server = parley_wire.Server(quick_options(request_seconds=0.1), fault_metadata=broken_once)
    EchoService().add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with SocketPeer(f"127.0.0.1:{port}") as peer:
        peer.shake_hands()
        peer.request(1, "Unary")
        await until(lambda: len(faults) == 1)
        peer.request(3, "Unary")
        assert b"grpc-status\x014" in (await peer.trailers(3)).payload
    assert "a defect" in caplog.text
    await server.stop(0)


async def test_keep_alive(start_server: StartServer) -> None:
    """Pinged when silent; closed when the answer does not come."""
    options = quick_options(keepalive_seconds=0.1, keepalive_timeout_seconds=2.0)
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
