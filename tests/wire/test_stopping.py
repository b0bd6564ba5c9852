"""Starting and stopping a server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

import parley_wire
from parley_wire import frames
from parley_wire.limits import Limits
from parley_wire.listener import Listener
from parley_wire.options import ServerOptions
from parley_wire.settings import INITIAL_WINDOW_SIZE
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import message
from parley_wire.testing.raw_handlers import Mirror
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from .conftest import StartServer


async def test_a_server_starts_once(start_server: StartServer) -> None:
    """Nor after it stopped."""
    server, _ = await start_server()
    with pytest.raises(grpc.aio.UsageError, match="starts once"):
        await server.start()
    await server.stop(0)
    with pytest.raises(grpc.aio.UsageError, match="starts once"):
        await server.start()
    never = parley_wire.Server()
    await never.stop(0)
    with pytest.raises(grpc.aio.UsageError, match="starts once"):
        await never.start()


async def test_who_gives_up_waiting_does_not_stop_the_stopping(start_server: StartServer) -> None:
    """A `stop` that is cancelled goes on, and the next one shortens it. Planted: that one hung."""
    service = EchoService()
    server, address = await start_server(service.add_to)
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, "Both")
        await service.until("stream opened")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await server.stop(60)
        async with asyncio.timeout(5):
            await server.stop(0)
        assert "stream cancelled" in service.log
    assert not server.tasks and not server.calls


async def test_stop_while_starting() -> None:
    """`stop` comes between two listeners: it waits until both serve, and closes them. No file descriptor of
    theirs is watched afterwards, so that whoever gets its number next can watch it. Planted: without the wait
    the sockets were closed under their listeners, which served and stayed in the selector.
    """
    loop = asyncio.get_running_loop()
    server = parley_wire.Server()
    ports = [server.add_insecure_port("127.0.0.1:0") for _ in range(2)]
    descriptors = [listener._socket.fileno() for listener in server._listeners]
    starting = asyncio.create_task(server.start())
    # Its first step, and no more.
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await server.stop(0)
    assert starting.done()
    await starting
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
    assert [number for number in descriptors if loop.remove_reader(number)] == []


async def test_a_start_that_nobody_waits_for() -> None:
    """Whoever calls `start` is cancelled: it goes on, and `stop` closes what it opened. Planted: cancelled
    with its caller, it left a listener half started, whose descriptor was watched for good.
    """
    loop = asyncio.get_running_loop()
    server = parley_wire.Server()
    port = server.add_insecure_port("127.0.0.1:0")
    (listener,) = server._listeners
    descriptor = listener._socket.fileno()
    starting = asyncio.create_task(server.start())
    # Its first step, and that of the start itself.
    for _ in range(2):
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    async with asyncio.timeout(10):
        await server.stop(0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert not loop.remove_reader(descriptor)


async def test_a_status_that_cannot_be_made(caplog: pytest.LogCaptureFixture) -> None:
    """What the owner adds to a status raises, which it may not, on one connection of two: that one is closed,
    the other is told, and `stop` ends as ever. Planted: without the guard it ended half-way, and both
    connections, their handlers and the sweeper stayed.
    """
    faults: list[parley_wire.CallFault] = []

    def broken_once(fault: parley_wire.CallFault) -> tuple[tuple[str, str], ...]:
        faults.append(fault)
        if len(faults) == 1:
            raise LookupError("a defect")
        return ()

    server = parley_wire.Server(fault_metadata=broken_once)
    service = EchoService()
    service.add_to(server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with SocketPeer(address) as one, SocketPeer(address) as other:
        for peer in (one, other):
            peer.shake_hands()
            peer.request(1, "Both")
        await until(lambda: len(server.tasks) == 2)
        async with asyncio.timeout(10):
            await server.stop(0)
            assert await server.wait_for_termination() is False
            # It went well: a second one has nothing to say either.
            await server.stop(0)
        kinds = [[frame.kind for frame in await peer.until_closed()] for peer in (one, other)]
    assert sorted(frames.HEADERS in heard for heard in kinds) == [False, True]
    assert not server.tasks and not server.calls and not server._connections
    assert server._sweeper is not None and server._sweeper.done()
    assert "a defect" in caplog.text


async def test_a_stop_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of ours below `stop`: who called hears of it, and nobody waits for the end for ever. Planted:
    `wait_for_termination` hung, and the sweeper went on.
    """

    def broken(_listener: Listener) -> None:
        raise LookupError("a defect")

    server = parley_wire.Server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with monkeypatch.context() as patched:
        patched.setattr(Listener, "close", broken)
        with pytest.raises(LookupError):
            await server.stop(0)
    async with asyncio.timeout(10):
        assert await server.wait_for_termination() is False
    assert server._sweeper is not None and server._sweeper.done()
    for listener in server._listeners:
        listener.close()


async def test_calls_that_come_too_late(start_server: StartServer) -> None:
    """A handler takes its time to end, and a client that minds no GOAWAY goes on opening calls: none of them
    is begun. Planted: they were, and ran on when `stop` had returned.
    """
    begun: list[int] = []
    released = asyncio.Event()

    async def slow_to_end(_requests: object, _context: object) -> None:
        begun.append(1)
        try:
            await asyncio.sleep(60)
        finally:
            await released.wait()

    handler: Any = grpc.stream_stream_rpc_method_handler(slow_to_end)
    server, address = await start_server(
        lambda server: server.add_registered_method_handlers(SERVICE, {"Both": handler})
    )
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, "Both")
        await until(lambda: len(begun) == 1)
        stopping = asyncio.create_task(server.stop(0))
        try:
            await peer.trailers(1)
            peer.request(3, "Both")
            await peer.until_closed()
        finally:
            released.set()
        await stopping
        assert begun == [1]
        assert not server.tasks


class Watched(Mirror):
    """Sends much that nobody reads, and counts its ends."""

    ended = 0

    def received(self, message: bytes) -> None:
        self._call.send(b"x" * 5000)

    def closed(self) -> None:
        Watched.ended += 1


@pytest.mark.parametrize("window", [65_535, 0])
async def test_stop_with_many_open_streams(start_server: StartServer, window: int) -> None:
    """Five thousand on one connection, with data that waits or without: each handler hears of its end once,
    the client of each status that fits in what it reads, and it takes no grace.
    """
    count = 5000
    Watched.ended = 0
    method = parley_wire.RawMethod(Watched, request_streaming=True)
    server, address = await start_server(
        lambda server: server.add_registered_method_handlers(SERVICE, {"Raw": method}),
        options=ServerOptions(limits=Limits(streams_per_connection=count)),
    )
    async with SocketPeer(address) as peer:
        peer.shake_hands(((INITIAL_WINDOW_SIZE, window),))
        for stream_id in range(1, 2 * count, 2):
            peer.request(stream_id, "Raw")
            peer.body(stream_id, message(b"x"))
        peer.write(frames.ping(b"12345678", ack=False))
        while (await peer.until(frames.PING)).payload != b"12345678":
            pass
        assert server.calls == count
        reading = asyncio.create_task(peer.until_closed())
        started = time.monotonic()
        await server.stop(0)
        took = time.monotonic() - started
        ended = {frame.stream_id for frame in await reading if frame.flags & frames.END_STREAM}
    assert Watched.ended == count
    assert not server.calls
    assert took < 20
    if window == 0:
        # Nothing was begun on these streams, so that nothing stands before their status.
        assert len(ended) == count


async def test_a_handler_that_will_not_end(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It swallows every cancellation: `stop` waits for as long as it was told, names the method and nothing
    of the call, closes the connections and returns; the task is the loop's. A handler that ends is not named.
    Planted: without the bound, `stop` waited until the handler chose to end.
    """
    released = asyncio.Event()
    cancelled: list[str] = []

    async def stubborn(_requests: object, _context: object) -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                cancelled.append("stubborn")

    async def obedient(_requests: object, _context: object) -> None:
        try:
            await released.wait()
        finally:
            cancelled.append("obedient")

    handlers: dict[str, Any] = {
        "Stubborn": grpc.stream_stream_rpc_method_handler(stubborn),
        "Obedient": grpc.stream_stream_rpc_method_handler(obedient),
    }
    server, address = await start_server(
        lambda server: server.add_registered_method_handlers(SERVICE, handlers),
        options=ServerOptions(cancellation_seconds=0.2),
    )
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        for stream_id, method in ((1, "Stubborn"), (3, "Stubborn"), (5, "Obedient")):
            peer.request(stream_id, method)
            peer.body(stream_id, message(b"of no concern"))
        await until(lambda: len(server.tasks) == 3)
        # Those whose first step has not come yet would end before they began.
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(10):
                await server.stop(0)
                assert len(server.tasks) == 2
                assert {"stubborn", "obedient"} == set(cancelled)
                ended = [frame for frame in await peer.until_closed() if frame.flags & frames.END_STREAM]
                # Their clients are told all the same.
                assert {1, 3, 5} <= {frame.stream_id for frame in ended}
                assert await server.wait_for_termination(0) is False
        finally:
            released.set()
    (record,) = [record for record in caplog.records if record.name == "parley_wire"]
    assert record.getMessage() == (
        f"2 handlers did not end within 0.2 s of their cancellation and are left: /{SERVICE}/Stubborn"
    )
    await until(lambda: not server.tasks)
