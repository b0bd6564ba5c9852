"""Handlers that break their word: one call or one connection suffers, nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

import parley_wire
from parley_wire import frames
from parley_wire.errors import ErrorCode
from parley_wire.testing.echo_client import call, unary_of
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import message
from parley_wire.testing.quick_options import quick_options
from parley_wire.testing.raw_handlers import Clumsy, Quiet
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .conftest import StartServer


def raw(
    open_handler: Callable[[parley_wire.RawCall], parley_wire.RawHandler],
) -> Callable[[grpc.aio.Server], None]:
    method = parley_wire.RawMethod(open_handler, request_streaming=True)
    return lambda server: server.add_registered_method_handlers(SERVICE, {"Raw": method})


def both(behaviour: Any) -> Callable[[grpc.aio.Server], None]:
    handler: Any = grpc.stream_stream_rpc_method_handler(behaviour)
    return lambda server: server.add_registered_method_handlers(SERVICE, {"Both": handler})


class Late(Quiet):
    """Sends more than the windows take, and raises when it may go on, or at its end."""

    at_the_end = False

    def __init__(self, call: parley_wire.RawCall) -> None:
        self._call = call

    def received(self, message: bytes) -> None:
        self._call.send(b"x" * 200_000)

    def writable(self) -> None:
        if not self.at_the_end:
            raise LookupError("a defect")

    def closed(self) -> None:
        if self.at_the_end:
            raise LookupError("a defect")


class LateAtTheEnd(Late):
    at_the_end = True


async def test_a_raw_handler_that_raises(start_server: StartServer, caplog: pytest.LogCaptureFixture) -> None:
    """Its connection ends, with `closed` told and the error in the log; the others go on."""
    handlers: list[Clumsy] = []

    def open_handler(call: parley_wire.RawCall) -> Clumsy:
        handlers.append(Clumsy(call))
        return handlers[-1]

    server, address = await start_server(EchoService().add_to, raw(open_handler))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, "Raw")
        peer.body(1, message(b"x"))
        last = (await peer.until_closed())[-1]
    assert (last.kind, last.code) == (frames.GOAWAY, ErrorCode.INTERNAL_ERROR)
    assert handlers[0].was_closed.is_set()
    assert "a defect" in caplog.text
    assert await call(address) == b"hi"
    await until(lambda: server.calls == 0)


async def test_a_handler_that_raises_while_others_wait_for_their_flush(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """In one tick with answers of other connections: those go out all the same. Planted: with the error
    leaving the flusher, the connections behind it were silent for ever.
    """
    server, address = await start_server(EchoService().add_to, raw(Late))
    async with SocketPeer(address) as bad, SocketPeer(address) as good:
        for peer in (bad, good):
            peer.shake_hands()
            await peer.until(frames.SETTINGS)
        bad.request(1, "Raw")
        bad.body(1, message(b"x"))
        await bad.until(frames.DATA, 1)
        # Both are scheduled in this order, before the flusher runs.
        late, other = sorted(server._connections, key=lambda connection: not connection.core.streams.open)
        late.data_received(frames.window_update(1, 1_000_000) + frames.window_update(0, 1_000_000))
        other.data_received(frames.ping(b"12345678", ack=False))
        while (answer := await good.until(frames.PING)).payload != b"12345678":
            pass
        assert answer.flags & frames.ACK
        await bad.until_closed()
    assert "a defect" in caplog.text
    await until(lambda: server.calls == 0)


async def test_a_handler_that_raises_at_its_end(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The other calls of its connection hear of their end; the server stops as always. Planted: with the
    error leaving `on_closed` their handlers ran on.
    """
    service = EchoService()
    server, address = await start_server(service.add_to, raw(LateAtTheEnd))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, "Raw")
        peer.request(3, "Both")
        await service.until("stream opened")
    await service.until("stream cancelled")
    assert "a defect" in caplog.text
    await until(lambda: server.calls == 0 and not server.tasks)


async def test_a_generic_handler_that_raises(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The call ends with INTERNAL, the others of its connection go on. Planted: the connection ended."""

    class Broken(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            raise LookupError("a defect")

    _, address = await start_server(
        EchoService().add_to, lambda server: server.add_generic_rpc_handlers((Broken(),))
    )
    async with parley_wire.Channel(address) as channel:
        call = await channel.open(f"/{SERVICE}/Both")
        call.send(b"before")
        assert await call.read() == b"before"
        with pytest.raises(parley_wire.CallFailed) as raised:
            await channel.unary("/no/method", b"")
        assert raised.value.code is grpc.StatusCode.INTERNAL
        call.send(b"after")
        assert await call.read() == b"after"
    assert "a defect" in caplog.text


async def test_a_done_callback_that_raises(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the call ends as it would."""

    def fail(_context: object) -> None:
        raise LookupError("a defect")

    async def unary(request: bytes, context: Any) -> bytes:
        context.add_done_callback(fail)
        return request

    def register(server: grpc.aio.Server) -> None:
        handler: Any = grpc.unary_unary_rpc_method_handler(unary)
        server.add_registered_method_handlers(SERVICE, {"Unary": handler})

    _, address = await start_server(register)
    async with grpc.aio.insecure_channel(address) as channel:
        for _ in range(2):
            assert await unary_of(channel)(b"hi") == b"hi"
    assert "a done callback" in caplog.text


async def test_times_are_looked_after_whatever_fails(
    start_server: StartServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect in one connection ends it, and the sweep goes on. Planted: with the error leaving the sweep,
    no connection was looked after any more.
    """
    server, address = await start_server(EchoService().add_to, options=quick_options(keepalive_seconds=0.05))
    async with SocketPeer(address) as bad, SocketPeer(address) as good:
        for peer in (bad, good):
            peer.shake_hands()
            await peer.until(frames.SETTINGS)
        broken = next(iter(server._connections))
        real = type(broken).check

        def check(self: Any, now: float) -> None:
            if self is broken:
                raise LookupError("a defect")
            real(self, now)

        monkeypatch.setattr(type(broken), "check", check)
        ended = await asyncio.wait_for(first_end(bad, good), 10)
        survivor = good if ended is bad else bad
        await survivor.until(frames.PING)
    assert "a defect" in caplog.text


async def first_end(*peers: SocketPeer) -> SocketPeer:
    """The peer whose connection ends first."""
    reading = {asyncio.ensure_future(ends(peer)): peer for peer in peers}
    done, pending = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.wait(pending)
    return reading[done.pop()]


async def ends(peer: SocketPeer) -> None:
    while await peer.frame() is not None:
        pass


class Decided(Quiet):
    """Closes its call with the first message, at once or behind what was sent."""

    now = False

    def __init__(self, call: parley_wire.RawCall) -> None:
        self._call = call
        self.log: list[str] = []

    def received(self, message: bytes) -> None:
        self.log.append(message.decode())
        close = self._call.close_now if self.now else self._call.close
        close(grpc.StatusCode.ABORTED, "enough")

    def half_closed(self) -> None:
        self.log.append("half closed")

    def closed(self) -> None:
        self.log.append("closed")


class DecidedNow(Decided):
    now = True


@pytest.mark.parametrize("kind", [Decided, DecidedNow])
async def test_nothing_comes_behind_the_end(start_server: StartServer, kind: type[Decided]) -> None:
    """Three messages and the half-close in one frame: a handler that closes with the first hears of none of
    them. Planted: it did, even after `closed`.
    """
    handlers: list[Decided] = []

    def open_handler(call: parley_wire.RawCall) -> Decided:
        handlers.append(kind(call))
        return handlers[-1]

    server, address = await start_server(raw(open_handler))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, "Raw")
        peer.body(1, message(b"one") + message(b"two") + message(b"three"), end_stream=True)
        assert b"enough" in (await peer.trailers(1)).payload
        await until(lambda: server.calls == 0)
    assert handlers[0].log == ["one", "closed"]


async def test_a_close_that_cannot_be_sent_is_no_close(start_server: StartServer) -> None:
    """Metadata that is none raises, and the call may still be closed. Planted: it could not, and stayed."""
    calls: list[parley_wire.RawCall] = []

    def open_handler(call: parley_wire.RawCall) -> Quiet:
        calls.append(call)
        with pytest.raises(ValueError, match="lower case"):
            call.close(grpc.StatusCode.ABORTED, "", (("Upper", "x"),))
        call.close(grpc.StatusCode.ABORTED, "closed after all")
        return Quiet(call)

    _, address = await start_server(raw(open_handler))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, "Raw")
        assert b"closed after all" in (await peer.trailers(1)).payload


async def test_a_generator_is_closed_with_its_call(start_server: StartServer) -> None:
    """One that waits in `yield`, since its client reads nothing, hears of the end before its call is over.
    Planted: left to the garbage collector, its `finally` ran later, or never.
    """
    log: list[str] = []
    running: list[bool] = []

    async def endless(_requests: object, _context: object) -> AsyncIterator[bytes]:
        try:
            while True:
                running.append(True)
                yield b"x" * 16_000
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    server, address = await start_server(both(endless))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, "Both")
        await peer.until(frames.DATA, 1)
        (task,) = server.tasks
        before = 0
        while before != len(running):
            before = len(running)
            await asyncio.sleep(0.05)
        peer.write(frames.rst_stream(1, ErrorCode.CANCEL))
        await asyncio.wait([task])
        assert log == ["closed"]


async def test_a_stream_that_was_reset_is_written_no_more(start_server: StartServer) -> None:
    """The handler's task may run before it hears of the reset: what it writes goes nowhere, and it does not
    keep the loop to itself. Planted: DATA followed the RST_STREAM.
    """
    go, wrote = asyncio.Event(), asyncio.Event()

    async def writes(_requests: object, context: Any) -> None:
        await context.write(b"first")
        await go.wait()
        wrote.set()
        while True:
            await context.write(b"late")

    server, address = await start_server(both(writes))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, "Both")
        await peer.until(frames.DATA, 1)
        (connection,) = server._connections
        # The task is woken before the flush in which it would hear of the reset.
        go.set()
        connection.data_received(frames.rst_stream(1, ErrorCode.CANCEL))
        await wrote.wait()
        await until(lambda: not server.tasks and server.calls == 0)
        assert connection.core.sender.queued_bytes == 0
        peer.write(frames.ping(b"12345678", ack=False))
        seen = []
        while (frame := await peer.frame()) is not None and frame.payload != b"12345678":
            seen.append(frame)
        assert [frame for frame in seen if frame.stream_id == 1] == []


async def test_a_reader_of_the_handlers_own_hears_of_the_end(start_server: StartServer) -> None:
    """A task of the handler's that waits in `read` or `write` is not left there. Planted: it was."""
    outcomes: list[object] = []
    tasks: list[asyncio.Task[None]] = []

    async def read(context: Any) -> None:
        outcomes.append(await context.read())

    async def write(context: Any) -> None:
        try:
            while True:
                await context.write(b"x" * 50_000)
        except grpc.aio.UsageError as error:
            outcomes.append(str(error))

    async def starts(_requests: object, context: Any) -> None:
        tasks.extend((asyncio.create_task(read(context)), asyncio.create_task(write(context))))
        await asyncio.sleep(60)

    server, address = await start_server(both(starts))
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, "Both")
        await peer.until(frames.DATA, 1)
        peer.write(frames.rst_stream(1, ErrorCode.CANCEL))
        await until(lambda: len(outcomes) == 2)
    assert grpc.aio.EOF in outcomes and "the call is over" in outcomes
    await asyncio.wait(tasks)
    await until(lambda: not server.tasks)
