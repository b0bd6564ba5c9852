"""The stream seam (ports/stream.py) on both transports: the laws of StreamHandler and DeviceStream."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

import parley_wire
from parley_runtime.refusal import Reason, Refusal
from parley_server.transport import grpcio as grpcio_transport
from parley_server.transport import wire as wire_transport
from parley_wire import frames
from parley_wire.errors import ErrorCode
from parley_wire.testing.echo_service import SERVICE
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import message
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import ModuleType

    from parley_server.ports.stream import DeviceStream

# Enough for half a megabyte on a busy machine.
CLOSE_SECONDS = 2.0
REFUSAL = Refusal(Reason.SERVER_BUSY, "Come back later.")


class Recorder:
    """A StreamHandler that writes down what it is told, and answers as a test says."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.log: list[str] = []
        self.writable_again = asyncio.Event()

    def opened(self, stream: DeviceStream) -> None:
        self.stream = stream
        # Now, not later: grpc.aio's context crashes the process when it is asked after the call is over.
        self.peer = stream.peer
        self.metadata = stream.metadata
        self.log.append("opened")
        self._world.handlers.append(self)
        self._world.on_opened(stream)

    def received(self, message: bytes) -> None:
        self.log.append(f"received {message.decode()}")
        self._world.on_received(self.stream, message)

    def writable(self) -> None:
        self.log.append("writable")
        self.writable_again.set()

    def half_closed(self) -> None:
        self.log.append("half closed")
        self._world.on_half_closed(self.stream)

    def closed(self) -> None:
        self.log.append("closed")
        self._world.closed.set()


class World:
    """A server of one kind with two methods served by Recorders."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.address = ""
        self.handlers: list[Recorder] = []
        self.closed = asyncio.Event()
        self.on_opened: Callable[[DeviceStream], object] = lambda stream: None
        self.on_received: Callable[[DeviceStream, bytes], object] = lambda stream, _: None
        self.on_half_closed: Callable[[DeviceStream], object] = lambda stream: None

    @property
    def handler(self) -> Recorder:
        (handler,) = self.handlers
        return handler

    async def until_closed(self) -> list[str]:
        async with asyncio.timeout(10):
            await self.closed.wait()
        # Nothing may follow.
        await asyncio.sleep(0.05)
        assert self.handler.log.count("closed") == 1
        assert self.handler.log[-1] == "closed"
        return self.handler.log


@pytest.fixture(params=["wire", "grpcio"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    world = World(request.param)
    server: grpc.aio.Server = parley_wire.Server() if world.kind == "wire" else grpc.aio.server()
    transport: ModuleType = wire_transport if world.kind == "wire" else grpcio_transport
    methods = {
        "Both": transport.stream_stream(lambda: Recorder(world), close_seconds=CLOSE_SECONDS),
        "Stream": transport.unary_stream(lambda: Recorder(world), close_seconds=CLOSE_SECONDS),
    }
    server.add_registered_method_handlers(SERVICE, methods)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    world.address = f"127.0.0.1:{port}"
    yield world
    await server.stop(0)


@pytest.fixture
async def channel(world: World) -> AsyncIterator[Any]:
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(world.address, options=options) as channel:
        yield channel


async def test_a_conversation(world: World, channel: Any) -> None:
    """opened, received in order, half closed, closed; answers in order; OK."""
    world.on_received = lambda stream, said: stream.send_encoded(b"re: " + said)
    world.on_half_closed = lambda stream: stream.close(None)
    call = channel.stream_stream(f"/{SERVICE}/Both")(metadata=(("X-Who".lower(), "me"),))
    for text in (b"a", b"b"):
        await call.write(text)
        assert await call.read() == b"re: " + text
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    log = [entry for entry in await world.until_closed() if entry != "writable"]
    assert log == ["opened", "received a", "received b", "half closed", "closed"]
    assert world.handler.metadata["x-who"] == "me"
    assert world.handler.peer.startswith("ipv4:127.0.0.1:")


async def test_one_request(world: World, channel: Any) -> None:
    """A method with one request: received and half closed once."""
    world.on_received = lambda stream, said: stream.send_encoded(said)
    world.on_half_closed = lambda stream: stream.close(None)
    call = channel.unary_stream(f"/{SERVICE}/Stream")(b"x")
    assert [answer async for answer in call] == [b"x"]
    log = [entry for entry in await world.until_closed() if entry != "writable"]
    assert log == ["opened", "received x", "half closed", "closed"]


async def test_refused_at_once(world: World, channel: Any) -> None:
    """From within `opened`: the client gets the refusal, the handler its `closed`."""
    world.on_opened = lambda stream: stream.close(REFUSAL)
    call = channel.stream_stream(f"/{SERVICE}/Both")()
    assert (await call.code()).value[0] == REFUSAL.reason.code.value
    assert await call.details() == "Come back later."
    assert any(key == "grpc-status-details-bin" for key, _ in await call.trailing_metadata())
    await world.until_closed()


async def test_everything_taken_goes_out_before_the_end(world: World, channel: Any) -> None:
    """However much it is; what is sent after `close` is not, and only the first close counts."""

    def flood(stream: DeviceStream, _said: bytes) -> None:
        for number in range(200):
            stream.send_encoded(str(number).encode() * 1000)
        stream.close(REFUSAL)
        assert stream.send_encoded(b"late") is False
        stream.close(None)

    world.on_received = flood
    call = channel.stream_stream(f"/{SERVICE}/Both")()
    await call.write(b"go")
    got = []
    with pytest.raises(grpc.aio.AioRpcError):
        while True:
            got.append(await call.read())
    assert got == [str(number).encode() * 1000 for number in range(200)]
    assert await call.details() == "Come back later."
    await world.until_closed()


async def test_a_client_that_cancels(world: World, channel: Any) -> None:
    """closed, once; sending afterwards does nothing."""
    call = channel.stream_stream(f"/{SERVICE}/Both")()
    await call.write(b"x")
    async with asyncio.timeout(10):
        while not world.handlers or len(world.handler.log) < 2:  # noqa: ASYNC110  # on the way
            await asyncio.sleep(0.01)
    call.cancel()
    # grpc.aio reports a cancellation as the end of the requests, too.
    log = [entry for entry in await world.until_closed() if entry not in ("writable", "half closed")]
    assert log == ["opened", "received x", "closed"]
    assert world.handler.stream.send_encoded(b"nobody") is False
    if world.kind == "wire":
        world.handler.stream.close(None)


async def test_a_reader_that_stalls(world: World) -> None:
    """send_encoded says False at some point, `writable` follows when it reads on; all arrives in order."""
    async with SocketPeer(world.address) as peer:
        peer.shake_hands()
        peer.request(1, "Both")
        await peer.until(frames.SETTINGS)
        async with asyncio.timeout(10):
            while not world.handlers:  # noqa: ASYNC110  # on the way
                await asyncio.sleep(0.01)
        stream = world.handler.stream
        sent = 0
        while stream.send_encoded(bytes([sent % 256]) * 1000):
            sent += 1
        sent += 1
        world.handler.writable_again.clear()
        peer.write(frames.window_update(0, 10_000_000), frames.window_update(1, 10_000_000))
        got = b""
        while len(got) < sent * 1005:
            got += (await peer.until(frames.DATA, 1)).payload
        assert got == b"".join(message(bytes([number % 256]) * 1000) for number in range(sent))
        async with asyncio.timeout(10):
            await world.handler.writable_again.wait()


async def test_a_reader_that_never_reads_on(world: World) -> None:
    """After `close` it has close_seconds; then the handler is told that it is over, and the status stands
    behind what was on its way, for a client that reads in the end.
    """
    async with SocketPeer(world.address) as peer:
        peer.shake_hands(((4, 1000),))
        peer.request(1, "Both")
        async with asyncio.timeout(10):
            while not world.handlers:  # noqa: ASYNC110  # on the way
                await asyncio.sleep(0.01)
        stream = world.handler.stream
        stream.send_encoded(b"x" * 5000)
        stream.send_encoded(b"dropped or not")
        stream.close(REFUSAL)
        await world.until_closed()
        if world.kind == "wire":
            peer.write(frames.window_update(1, 100_000))
            body = b""
            while True:
                found = await peer.frame()
                assert found is not None
                if found.kind == frames.DATA:
                    body += found.payload
                elif found.kind == frames.HEADERS and found.flags & frames.END_STREAM:
                    break
            assert body == message(b"x" * 5000)
            assert b"Come back later." in found.payload


class Watched(wire_transport.WireStream):
    """One that can be watched."""


async def test_a_call_that_is_over_holds_nothing() -> None:
    """On wire: closed with data that nobody takes, then reset by its client. The timer that would give it up
    in ten minutes ends with the call, and whoever lets go of the stream lets go of all of it. Planted: the
    timer held the stream, the call and all that hung on them until it ran.
    """
    world = World("wire")
    loop: Any = asyncio.get_running_loop()
    streams: list[Any] = []

    def open_handler(call: parley_wire.RawCall) -> Recorder:
        handler = Recorder(world)
        handler.opened(Watched(call, 600.0))
        streams.append(weakref.ref(handler.stream))
        return handler

    server = parley_wire.Server()
    server.add_registered_method_handlers(
        SERVICE, {"Both": parley_wire.RawMethod(open_handler, request_streaming=True)}
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with SocketPeer(f"127.0.0.1:{port}") as peer:
        peer.shake_hands(((4, 0),))
        peer.request(1, "Both")
        await until(lambda: bool(world.handlers))
        stream = world.handler.stream
        stream.send_encoded(b"not taken")
        stream.close(REFUSAL)
        stream.close(None)
        del stream
        (timer,) = [handle for handle in loop._scheduled if handle.when() > loop.time() + 300]
        assert streams[0]() is not None
        peer.write(frames.rst_stream(1, ErrorCode.CANCEL))
        async with asyncio.timeout(10):
            await world.closed.wait()
        world.handlers.clear()
        assert streams[0]() is None
        assert timer.cancelled()
    await server.stop(0)


async def test_a_deadline(world: World, channel: Any) -> None:
    """The client's own: the stream is closed."""
    seconds = 0.3
    while not world.handlers:
        # On a busy machine the time may be over before the handler is there.
        call = channel.stream_stream(f"/{SERVICE}/Both")(timeout=seconds)
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        seconds *= 2
    await until(lambda: all(handler.log[-1] == "closed" for handler in world.handlers))
    assert {handler.log.count("closed") for handler in world.handlers} == {1}


async def test_events_of_one_tick_are_one_write() -> None:
    """On wire: ten events for each of three streams on one connection leave in one piece."""
    world = World("wire")
    server = parley_wire.Server()
    server.add_registered_method_handlers(
        SERVICE, {"Both": wire_transport.stream_stream(lambda: Recorder(world), close_seconds=1)}
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with SocketPeer(f"127.0.0.1:{port}") as peer:
        peer.shake_hands()
        for stream_id in (1, 3, 5):
            peer.request(stream_id, "Both")
        async with asyncio.timeout(10):
            while len(world.handlers) < 3:  # noqa: ASYNC110  # on the way
                await asyncio.sleep(0.01)
        (connection,) = server._connections
        written: list[int] = []
        transport: Any = connection._transport

        class Counting:
            """The transport, counting writes."""

            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                written.append(len(data))
                transport.write(data)

        connection._transport = Counting()  # type: ignore[assignment]
        for _ in range(10):
            for handler in world.handlers:
                assert handler.stream.send_encoded(b"event")
        for _ in range(30):
            while (found := await peer.frame()) is not None and found.kind != frames.DATA:
                pass
        assert len(written) == 1
    await server.stop(0)
