"""What handlers may ask of their context: on parley_wire as on grpc.aio, unless a test says otherwise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

import parley_wire
from parley_wire import frames
from parley_wire.headers import encode
from parley_wire.messages import MessageReader, PackedMessage, plain
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import REQUEST, Frame, message
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .conftest import StartServer

Behaviour = Any


class Worlds:
    """Servers of one kind, one per behaviour."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._servers: list[grpc.aio.Server] = []
        self._channels: list[grpc.aio.Channel] = []

    async def unary(self, behaviour: Behaviour, **options: Any) -> Any:
        """A call to a server that serves with this."""
        channel = await self._serve(grpc.unary_unary_rpc_method_handler(behaviour))
        call: Any = channel.unary_unary(f"/{SERVICE}/Method")
        return call(b"hi", **options)

    async def stream(self, behaviour: Behaviour) -> Any:
        """A stream of a server that serves with this."""
        channel = await self._serve(grpc.stream_stream_rpc_method_handler(behaviour))
        call: Any = channel.stream_stream(f"/{SERVICE}/Method")
        return call()

    async def _serve(self, handler: Any) -> grpc.aio.Channel:
        server = parley_wire.Server() if self.kind == "wire" else grpc.aio.server()
        self._servers.append(server)
        server.add_registered_method_handlers(SERVICE, {"Method": handler})
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self._channels.append(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        return self._channels[-1]

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        for server in self._servers:
            await server.stop(0)


@pytest.fixture(params=["wire", "grpcio"])
async def worlds(request: pytest.FixtureRequest) -> AsyncIterator[Worlds]:
    found = Worlds(request.param)
    yield found
    await found.close()


async def failure(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


async def test_what_was_set_can_be_read(worlds: Worlds) -> None:
    """Code, details, trailing metadata; and what the transport says of the call."""
    seen: list[Any] = []

    async def look(request: bytes, context: Any) -> bytes:
        seen.append((context.cancelled(), context.done()))
        context.set_code(grpc.StatusCode.OK)
        context.set_details("fine")
        context.set_trailing_metadata((("a", "b"),))
        seen.append((context.details(), tuple(tuple(pair) for pair in context.trailing_metadata())))
        seen.append((dict(context.auth_context()), context.peer_identity_key()))
        return request

    call = await worlds.unary(look)
    assert await call == b"hi"
    assert seen[0] == (False, False)
    assert seen[1] == ("fine", (("a", "b"),))
    assert seen[2][1] is None
    assert ("a", "b") in tuple(await call.trailing_metadata())


async def test_abort_with_status(worlds: Worlds) -> None:
    """Code, text and trailing metadata of a `grpc.Status`."""

    class Status(grpc.Status):
        code = grpc.StatusCode.DATA_LOSS
        details = "lost"
        trailing_metadata = (("where", "sea"),)

    async def fail(_request: bytes, context: Any) -> None:
        await context.abort_with_status(Status())

    error = await failure(await worlds.unary(fail))
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "lost")
    assert ("where", "sea") in tuple(error.trailing_metadata())


async def test_abort_keeps_what_was_set_before(worlds: Worlds) -> None:
    """Trailing metadata that `abort` does not name."""

    async def fail(_request: bytes, context: Any) -> None:
        context.set_trailing_metadata((("kept", "yes"),))
        await context.abort(grpc.StatusCode.ABORTED, "enough")

    error = await failure(await worlds.unary(fail))
    assert error.code() is grpc.StatusCode.ABORTED
    assert ("kept", "yes") in tuple(error.trailing_metadata())


async def test_abort_with_ok(start_server: StartServer) -> None:
    """Is the handler's mistake: UNKNOWN. On grpc.aio the call never ends."""

    async def fail(_request: bytes, context: Any) -> None:
        await context.abort(grpc.StatusCode.OK, "enough")

    _, address = await start_server(registering(grpc.unary_unary_rpc_method_handler(fail)))
    assert (await failed(address)).code is grpc.StatusCode.UNKNOWN


BAD = [(("Upper", "x"),), (("x", "line\nbreak"),), (("x-bin", "text"),)]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", ["initial", "trailing"])
async def test_metadata_that_cannot_be_sent(
    start_server: StartServer, bad: Any, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Is the handler's mistake: UNKNOWN, in the log, and the client gets a whole answer. Planted: after bad
    initial metadata the trailers came without headers, and the client thought that the server broke the
    protocol.
    """

    async def fail(request: bytes, context: Any) -> bytes:
        if where == "initial":
            await context.send_initial_metadata(bad)
        context.set_trailing_metadata(bad)
        return request

    _, address = await start_server(registering(grpc.unary_unary_rpc_method_handler(fail)))
    assert (await failed(address)).code is grpc.StatusCode.UNKNOWN
    assert "metadata" in caplog.text


async def failed(address: str) -> parley_wire.CallFailed:
    """How a call to this server fails, seen by a client that minds every header."""
    async with parley_wire.Channel(address) as channel:
        with pytest.raises(parley_wire.CallFailed) as raised:
            await channel.unary(f"/{SERVICE}/Method", b"hi", timeout=10)
    return raised.value


def registering(handler: Any) -> Callable[[grpc.aio.Server], None]:
    return lambda server: server.add_registered_method_handlers(SERVICE, {"Method": handler})


async def test_initial_metadata_goes_once(worlds: Worlds) -> None:
    """A second time, or behind the first message, it is a mistake."""
    mistakes: list[BaseException] = []

    async def twice(request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("a", "1"),))
        try:
            await context.send_initial_metadata((("a", "2"),))
        except Exception as error:
            mistakes.append(error)
        return request

    call = await worlds.unary(twice)
    assert await call == b"hi"
    assert [value for key, value in await call.initial_metadata() if key == "a"] == ["1"]
    assert len(mistakes) == 1


async def test_reading_behind_the_end(worlds: Worlds) -> None:
    """EOF, each time; what came before comes first."""
    got: list[Any] = []

    async def reads(_requests: object, context: Any) -> None:
        got.extend([await context.read() for _ in range(4)])

    stream = await worlds.stream(reads)
    await stream.write(b"1")
    await stream.write(b"2")
    await stream.done_writing()
    assert await stream.code() is grpc.StatusCode.OK
    assert got == [b"1", b"2", grpc.aio.EOF, grpc.aio.EOF]


async def test_done_callbacks(worlds: Worlds) -> None:
    """Each is called once; one that is added when all is over, at once."""
    called: list[str] = []
    contexts: list[Any] = []

    async def unary(request: bytes, context: Any) -> bytes:
        context.add_done_callback(lambda _context: called.append("first"))
        context.add_done_callback(lambda _context: called.append("second"))
        contexts.append(context)
        return request

    assert await (await worlds.unary(unary)) == b"hi"
    await until(lambda: len(called) == 2)
    assert called == ["first", "second"]
    if worlds.kind == "wire":
        contexts[0].add_done_callback(lambda _context: called.append("third"))
        assert called[-1] == "third"
        assert contexts[0].done()


async def test_a_handler_that_cancels_itself(start_server: StartServer) -> None:
    """Its client is told that the call is over. On grpc.aio it never is."""

    async def gives_up(_request: bytes, _context: Any) -> bytes:
        raise asyncio.CancelledError

    server, address = await start_server(registering(grpc.unary_unary_rpc_method_handler(gives_up)))
    assert (await failed(address)).code is grpc.StatusCode.CANCELLED
    await until(lambda: not server.calls)


async def test_one_message_that_is_not_compressed(start_server: StartServer) -> None:
    """The next one only. Planted: the rest of the stream was not, either."""

    async def three(_requests: object, context: Any) -> None:
        context.set_compression(grpc.Compression.Gzip)
        for number in range(3):
            if number == 1:
                context.disable_next_message_compression()
            await context.write(b"x" * 1000)

    _, address = await start_server(registering(grpc.stream_stream_rpc_method_handler(three)))
    path = (b":path", f"/{SERVICE}/Method".encode())
    fields = [path if name == b":path" else (name, value) for name, value in REQUEST]
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.write(frames.headers(1, encode([*fields, (b"grpc-accept-encoding", b"gzip")]), end_stream=True))
        received = [frame for frame in await frames_of(peer) if frame.kind == frames.DATA]
    messages = MessageReader(10_000, "gzip").feed(b"".join(frame.payload for frame in received))
    assert [isinstance(message, PackedMessage) for message in messages] == [True, False, True]
    assert {plain(message) for message in messages} == {b"x" * 1000}


async def frames_of(peer: SocketPeer) -> list[Frame]:
    """Those of stream 1, to its end."""
    found = []
    while (frame := await peer.frame()) is not None:
        if frame.stream_id == 1:
            found.append(frame)
            if frame.flags & frames.END_STREAM:
                break
    return found


@pytest.mark.parametrize("method", ["Unary", "Both"])
async def test_a_request_that_ends_with_trailers(start_server: StartServer, method: str) -> None:
    """No gRPC client sends any, but HTTP/2 allows them: the request is whole. Planted: passed over, they left
    it half.
    """
    _, address = await start_server(EchoService().add_to)
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        peer.request(1, method)
        peer.body(1, message(b"hi"))
        peer.write(frames.headers(1, encode([(b"x-sum", b"1")]), end_stream=True))
        assert (await peer.until(frames.DATA, 1)).payload == message(b"hi")
        assert b"grpc-status\x010" in (await peer.trailers(1)).payload


async def test_what_is_used_wrongly(start_server: StartServer) -> None:
    """Writing after the end, two reads at a time, compression behind the first message: UsageError."""
    mistakes: list[str] = []
    contexts: list[Any] = []

    async def misuses(_requests: object, context: Any) -> None:
        contexts.append(context)
        reading = asyncio.create_task(context.read())
        await asyncio.sleep(0)
        for act in (
            context.read,
            lambda: late_compression(context),
        ):
            try:
                await act()
            except grpc.aio.UsageError as error:
                mistakes.append(str(error))
        reading.cancel()

    async def late_compression(context: Any) -> None:
        await context.write(b"x")
        context.set_compression(grpc.Compression.Gzip)

    server, address = await start_server(registering(grpc.stream_stream_rpc_method_handler(misuses)))
    async with grpc.aio.insecure_channel(address) as channel:
        call: Any = channel.stream_stream(f"/{SERVICE}/Method")()
        assert await call.read() == b"x"
        assert await call.read() is grpc.aio.EOF
    await until(lambda: not server.tasks)
    over = contexts[0]
    aborted = grpc.StatusCode.ABORTED
    for late in (over.write(b"late"), over.send_initial_metadata(()), over.abort(aborted)):
        with pytest.raises(grpc.aio.UsageError, match="over"):
            await late
    assert mistakes == ["one read at a time", "set the compression before anything is sent"]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", b"12", b"the request has no message"),
        (message(b"one") + message(b"two"), b"12", b"this method takes one request"),
        (message(b"one")[:-1], b"13", b"the request ends inside a message"),
    ],
    ids=["none", "two", "a half"],
)
async def test_requests_that_are_not_one(
    start_server: StartServer, body: bytes, status: bytes, text: bytes
) -> None:
    """Of methods with one request, whoever serves them."""
    method = parley_wire.RawMethod(Waits, request_streaming=False)
    server, address = await start_server(
        EchoService().add_to,
        lambda server: server.add_registered_method_handlers(SERVICE, {"Raw": method}),
    )
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        for stream_id, name in ((1, "Unary"), (3, "Raw")):
            peer.request(stream_id, name)
            peer.body(stream_id, body, end_stream=True)
            trailers = (await peer.trailers(stream_id)).payload
            if name == "Raw" and not body:
                # A raw handler hears the half-close, and may answer without a request.
                assert b"grpc-status\x010" in trailers
            else:
                assert b"grpc-status" + bytes([len(status)]) + status in trailers
                assert text in trailers
    await until(lambda: server.calls == 0)


class Waits:
    """Answers with the half-close."""

    def __init__(self, call: parley_wire.RawCall) -> None:
        self._call = call

    def received(self, message: bytes) -> None:
        """It waits for the end."""

    def writable(self) -> None:
        """Nothing was sent."""

    def half_closed(self) -> None:
        self._call.close(grpc.StatusCode.OK)

    def closed(self) -> None:
        """It holds nothing."""


async def test_a_deadline_behind_data_that_is_not_taken(start_server: StartServer) -> None:
    """No status would get past it: the stream is reset."""
    server, address = await start_server(EchoService().add_to)
    async with SocketPeer(address) as peer:
        peer.shake_hands(((4, 10),))
        peer.request(1, "Stream", timeout=b"200m")
        peer.body(1, message(b"1000"), end_stream=True)
        assert (await peer.until(frames.RST_STREAM, 1)).code == 8
    await until(lambda: server.calls == 0 and not server.tasks)
