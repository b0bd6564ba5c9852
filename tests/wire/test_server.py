"""The server over real sockets: ports, TLS, times, limits, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

import parley_wire
from parley_wire import frames
from parley_wire.connection import Connection
from parley_wire.errors import ErrorCode
from parley_wire.headers import encode
from parley_wire.limits import Limits
from parley_wire.options import ServerOptions
from parley_wire.server_connection import ServerConnection, peer_text
from parley_wire.servicer_call import ServicerCall
from parley_wire.stream import Stream
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.peer import message, split
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Certificate, StartServer


def quick(**settings: Any) -> ServerOptions:
    """Options whose times are looked after at once."""
    return ServerOptions(sweep_seconds=0.02, **settings)


async def call(address: str, request: bytes = b"hi", **options: Any) -> Any:
    async with grpc.aio.insecure_channel(address, **options) as channel:
        return await unary_of(channel)(request, timeout=10)


def unary_of(channel: grpc.aio.Channel) -> Any:
    return channel.unary_unary(f"/{SERVICE}/Unary")


class TestPorts:
    """Where a server listens."""

    async def test_ipv6(self, start_server: StartServer) -> None:
        """Its peers are printed as grpc prints them."""
        _, address = await start_server(EchoService().add_to, address="[::1]:0")
        assert (await call(address, b"peer")).startswith(b"ipv6:%5B::1%5D:")

    async def test_a_unix_socket(self, start_server: StartServer, tmp_path: Path) -> None:
        """Removed when the server stops."""
        path = tmp_path / "socket"
        server, address = await start_server(EchoService().add_to, address=f"unix:{path}")
        assert await call(address, b"peer") == b"unix:"
        await server.stop(0)
        assert not path.exists()

    async def test_a_port_in_use(self, start_server: StartServer) -> None:
        """RuntimeError, as grpc.aio."""
        _, address = await start_server()
        with pytest.raises(RuntimeError, match="cannot listen"):
            parley_wire.Server().add_insecure_port(address)

    async def test_one_port_for_several_servers(self, start_server: StartServer) -> None:
        """With `reuse_port` the kernel spreads connections."""
        services = [EchoService(), EchoService()]
        _, address = await start_server(services[0].add_to, options=ServerOptions(reuse_port=True))
        await start_server(services[1].add_to, options=ServerOptions(reuse_port=True), address=address)
        assert await call(address) == b"hi"

    async def test_a_port_after_the_start(self, start_server: StartServer) -> None:
        """Is refused."""
        server, _ = await start_server()
        with pytest.raises(RuntimeError, match="before the server starts"):
            server.add_insecure_port("127.0.0.1:0")

    @pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:x", "no.such.host.invalid:0"])
    async def test_an_address_that_is_none(self, address: str) -> None:
        """RuntimeError with the address in it."""
        with pytest.raises(RuntimeError, match="cannot listen"):
            parley_wire.Server().add_insecure_port(address)

    def test_how_peers_are_printed(self) -> None:
        """By family."""
        assert peer_text(("127.0.0.1", 5)) == "ipv4:127.0.0.1:5"
        assert peer_text(("::1", 5, 0, 0)) == "ipv6:%5B::1%5D:5"
        assert peer_text("") == "unix:"


class TestTls:
    """TLS, ALPN, client certificates."""

    async def test_calls(
        self, start_server: StartServer, make_certificate: Callable[[str], Certificate]
    ) -> None:
        """With grpcio's client; messages of any size."""
        own = make_certificate("localhost")
        credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
        _, address = await start_server(EchoService().add_to, credentials=credentials)
        trusted = grpc.ssl_channel_credentials(own.pem)
        async with grpc.aio.secure_channel(address.replace("127.0.0.1", "localhost"), trusted) as channel:
            for size in (0, 100, 2_000_000):
                assert len(await unary_of(channel)(b"x" * size)) == size

    async def test_a_client_certificate(
        self, start_server: StartServer, make_certificate: Callable[[str], Certificate]
    ) -> None:
        """Asked for, checked, told to handlers; without one there is no call."""
        own, client = make_certificate("localhost"), make_certificate("some-client")
        seen: list[Any] = []

        async def look(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            seen.append((context.peer_identity_key(), context.peer_identities(), context.auth_context()))
            return request

        def register(server: grpc.aio.Server) -> None:
            handlers: Any = {"Unary": grpc.unary_unary_rpc_method_handler(look)}
            server.add_registered_method_handlers(SERVICE, handlers)

        credentials = parley_wire.tls_server_credentials(
            own.certificate_file, own.key_file, client_ca_file=client.certificate_file
        )
        _, address = await start_server(register, credentials=credentials)
        address = address.replace("127.0.0.1", "localhost")
        with_one = grpc.ssl_channel_credentials(own.pem, client.key_file.read_bytes(), client.pem)
        async with grpc.aio.secure_channel(address, with_one) as channel:
            await unary_of(channel)(b"")
        key, identities, authority = seen[0]
        assert key == "x509_subject_alternative_name"
        assert identities == (b"localhost", b"127.0.0.1")
        assert authority["x509_common_name"] == (b"some-client",)
        async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(own.pem)) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await unary_of(channel)(b"", timeout=5)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE

    async def test_a_client_without_alpn(
        self, start_server: StartServer, make_certificate: Callable[[str], Certificate]
    ) -> None:
        """Does not speak HTTP/2: closed."""
        own = make_certificate("localhost")
        credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
        _, address = await start_server(EchoService().add_to, credentials=credentials)
        async with SocketPeer(address, tls=ssl.create_default_context(cafile=own.certificate_file)) as peer:
            assert await peer.until_closed() == []

    async def test_handshakes_that_never_end(
        self, start_server: StartServer, make_certificate: Callable[[str], Certificate]
    ) -> None:
        """Bounded in number and in time; proper clients are served afterwards."""
        own = make_certificate("localhost")
        credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
        options = quick(unfinished_handshakes=2, handshake_seconds=0.5)
        _, address = await start_server(EchoService().add_to, credentials=credentials, options=options)
        async with SocketPeer(address) as one, SocketPeer(address) as two:
            await asyncio.sleep(0.1)
            async with SocketPeer(address) as three:
                async with asyncio.timeout(0.3):
                    assert await three.until_closed() == []
            assert await one.until_closed() == await two.until_closed() == []
        trusted = grpc.ssl_channel_credentials(own.pem)
        async with grpc.aio.secure_channel(address.replace("127.0.0.1", "localhost"), trusted) as channel:
            assert await unary_of(channel)(b"hi") == b"hi"

    async def test_grpcs_own_credentials_are_refused(
        self, make_certificate: Callable[[str], Certificate]
    ) -> None:
        """They cannot be read; the error says what to do."""
        own = make_certificate("localhost")
        opaque = grpc.ssl_server_credentials([(own.key_file.read_bytes(), own.pem)])
        with pytest.raises(TypeError, match="tls_server_credentials"):
            parley_wire.Server().add_secure_port("127.0.0.1:0", opaque)


class TestTimes:
    """What may not take for ever."""

    @pytest.mark.parametrize("sent", [b"", frames.PREFACE[:10], frames.PREFACE])
    async def test_a_slow_preface(self, start_server: StartServer, sent: bytes) -> None:
        """Without SETTINGS in time the connection is closed."""
        _, address = await start_server(options=quick(handshake_seconds=0.1))
        async with SocketPeer(address) as peer:
            peer.write(sent)
            await peer.until_closed()

    async def test_an_idle_connection_stays(self, start_server: StartServer) -> None:
        """Once it shook hands."""
        _, address = await start_server(EchoService().add_to, options=quick(handshake_seconds=0.1))
        async with SocketPeer(address) as peer:
            peer.shake_hands()
            await asyncio.sleep(0.3)
            peer.request(1, "Unary")
            peer.body(1, message(b"hi"), end_stream=True)
            await peer.trailers(1)

    async def test_slow_headers(self, start_server: StartServer) -> None:
        """A block that began and does not end."""
        _, address = await start_server(options=quick(header_seconds=0.1))
        async with SocketPeer(address) as peer:
            peer.shake_hands()
            peer.write(frames.frame(frames.HEADERS, 0, 1, b""))
            last = (await peer.until_closed())[-1]
            assert (last.kind, last.code) == (frames.GOAWAY, ErrorCode.ENHANCE_YOUR_CALM)

    async def test_a_slow_body(self, start_server: StartServer) -> None:
        """A request that does not end: its call is over; the connection goes on."""
        server, address = await start_server(EchoService().add_to, options=quick(request_seconds=0.1))
        async with SocketPeer(address) as peer:
            peer.shake_hands()
            peer.request(1, "Unary")
            peer.body(1, b"\0\0\0\0\x05h")
            assert b"grpc-status\x014" in (await peer.trailers(1)).payload
            peer.request(3, "Unary")
            peer.body(3, message(b"hi"), end_stream=True)
            await peer.trailers(3)
        assert server.partial_bytes == 0

    async def test_a_slow_body_of_other_kinds(self, start_server: StartServer) -> None:
        """A raw method with one request, and a request that is not gRPC: neither waits for ever. Planted:
        with the waiting not noted, both did.
        """
        quiet = parley_wire.RawMethod(Quiet, request_streaming=False)
        server, address = await start_server(
            lambda server: server.add_registered_method_handlers(SERVICE, {"Raw": quiet}),
            options=quick(request_seconds=0.1),
        )
        async with SocketPeer(address) as peer:
            peer.shake_hands()
            peer.request(1, "Raw")
            assert b"grpc-status\x014" in (await peer.trailers(1)).payload
            fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/")]
            peer.write(frames.headers(3, encode(fields), end_stream=False))
            assert (await peer.until(frames.RST_STREAM, 3)).code == ErrorCode.CANCEL
        await until(lambda: server.calls == 0)

    async def test_keep_alive(self, start_server: StartServer) -> None:
        """Pinged when silent; closed when the answer does not come."""
        options = quick(keepalive_seconds=0.1, keepalive_timeout_seconds=0.2)
        _, address = await start_server(options=options)
        async with SocketPeer(address) as peer:
            peer.shake_hands()
            for _ in range(2):
                while (ping := await peer.until(frames.PING)).flags:
                    pass
                peer.write(frames.ping(ping.payload, ack=True))
            await peer.until_closed()

    async def test_connection_age(self, start_server: StartServer) -> None:
        """Told to go, with time for its calls; each at an age of its own."""
        options = quick(connection_age_seconds=0.1, connection_age_grace_seconds=5.0)
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

    async def test_a_request_that_crosses_the_goaway(self, start_server: StartServer) -> None:
        """An idle connection is told to go; a request that was on its way then is served all the same.
        Planted: closed right after the first GOAWAY, it was lost.
        """
        _, address = await start_server(EchoService().add_to, options=quick(connection_age_seconds=0.1))
        async with SocketPeer(address) as peer:
            peer.shake_hands()
            await peer.until(frames.GOAWAY)
            peer.request(1, "Unary")
            peer.body(1, message(b"hi"), end_stream=True)
            await peer.trailers(1)
            peer.write(frames.ping(frames.SHUTDOWN_PING, ack=True))
            assert (await peer.until(frames.GOAWAY)).number == 1
            assert await peer.until_closed() == []

    async def test_a_peer_that_takes_nothing(self, start_server: StartServer) -> None:
        """A stream whose window stays shut is reset: here each answer waits for a window of no bytes."""
        server, address = await start_server(EchoService().add_to, options=quick(send_stall_seconds=0.2))
        async with SocketPeer(address) as peer:
            peer.shake_hands(((4, 0),))
            peer.request(1, "Unary")
            peer.body(1, message(b"hi"), end_stream=True)
            reset = await peer.until(frames.RST_STREAM, 1)
            assert reset.code == ErrorCode.CANCEL
        await until(lambda: server.calls == 0)

    async def test_a_socket_that_is_never_read(self, start_server: StartServer) -> None:
        """The whole connection is closed; meanwhile what waits is bounded."""
        options = quick(send_stall_seconds=0.5, write_buffer_bytes=1000)
        server, address = await start_server(EchoService().add_to, options=options)
        peer = await blocked(address)
        peer.sendall(b"".join(frames.ping(b"12345678", ack=False) for _ in range(150)))
        await until(lambda: server.calls > 0)
        await until(lambda: server.calls == 0)
        peer.close()

    async def test_a_socket_that_is_read_late(self, start_server: StartServer) -> None:
        """While nobody reads, questions are not heard either; then everything comes, in order and whole."""
        limits = Limits(control_backlog_bytes=1000)
        options = quick(write_buffer_bytes=1000, limits=limits)
        server, address = await start_server(EchoService().add_to, options=options)
        peer = await blocked(address)
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


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  # the server has no event for every fact
            await asyncio.sleep(0.01)


async def blocked(address: str) -> socket.socket:
    """A client that asks for much and reads nothing."""
    host, _, port = address.rpartition(":")
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect((host, int(port)))
    path = f"/{SERVICE}/Unary".encode()
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path)]
    block = encode([*fields, (b"content-type", b"application/grpc")])
    sent = frames.PREFACE + frames.settings(((4, 2**31 - 1),)) + frames.window_update(0, 2**30)
    sent += frames.headers(1, block, end_stream=False)
    sent += frames.frame(frames.DATA, frames.END_STREAM, 1, message(b"large:10000000"))
    peer.sendall(sent)
    return peer


class TestLimits:
    """How much one client, or all, may have."""

    async def test_calls_at_a_time(self, start_server: StartServer) -> None:
        """RESOURCE_EXHAUSTED for one more, and room again after one ended."""
        service = EchoService()
        _, address = await start_server(service.add_to, options=quick(concurrent_calls=1))
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

    async def test_connections_and_connections_per_address(self, start_server: StartServer) -> None:
        """One more is closed at once."""
        for options in (quick(connections=1), quick(connections_per_address=1)):
            _, address = await start_server(EchoService().add_to, options=options)
            async with SocketPeer(address) as first:
                first.shake_hands()
                await first.until(frames.SETTINGS)
                async with SocketPeer(address) as second:
                    assert await second.until_closed() == []
            await asyncio.sleep(0.05)
            async with SocketPeer(address) as third:
                third.shake_hands()
                await third.until(frames.SETTINGS)

    async def test_unfinished_messages_of_all_calls(self, start_server: StartServer) -> None:
        """The call that passes the bound ends; the others go on."""
        server, address = await start_server(
            EchoService().add_to, options=quick(partial_messages_bytes=15_000)
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

    async def test_headers_that_are_too_large(self, start_server: StartServer) -> None:
        """RESOURCE_EXHAUSTED for that call."""
        limits = Limits(header_list_bytes=2000)
        _, address = await start_server(EchoService().add_to, options=quick(limits=limits))
        async with grpc.aio.insecure_channel(address) as channel:
            unary = unary_of(channel)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await unary(b"", metadata=(("x", "y" * 3000),))
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await unary(b"hi") == b"hi"

    async def test_rapid_reset_with_handlers_that_run(self, start_server: StartServer) -> None:
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
        server, address = await start_server(register, options=quick(limits=limits))
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

    async def test_streams_reset_in_one_breath_start_nothing(self, start_server: StartServer) -> None:
        """Opened and reset within one read: no handler runs. Planted: without the check, 100 did."""
        service = EchoService()
        server, address = await start_server(service.add_to, options=quick())
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

    async def test_a_synchronous_handler_is_refused(
        self, start_server: StartServer, caplog: pytest.LogCaptureFixture
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


class Quiet:
    """A raw handler that does nothing."""

    def __init__(self, call: parley_wire.RawCall) -> None:
        """The call is of no interest."""

    def received(self, message: bytes) -> None:
        """Nor is what comes."""

    def writable(self) -> None:
        """Nothing was sent."""

    def half_closed(self) -> None:
        """It waits for nothing."""

    def closed(self) -> None:
        """It holds nothing."""


class Clumsy:
    """A raw handler that breaks its word: it raises."""

    def __init__(self, call: parley_wire.RawCall) -> None:
        self.was_closed = asyncio.Event()

    def received(self, message: bytes) -> None:
        raise LookupError("a defect")

    def writable(self) -> None:
        """Nothing was sent."""

    def half_closed(self) -> None:
        """It never comes to that."""

    def closed(self) -> None:
        self.was_closed.set()


async def test_a_raw_handler_that_raises(start_server: StartServer, caplog: pytest.LogCaptureFixture) -> None:
    """Its connection ends, with `closed` told and the error in the log; the others go on."""
    handlers: list[Clumsy] = []

    def open_handler(call: parley_wire.RawCall) -> Clumsy:
        handlers.append(Clumsy(call))
        return handlers[-1]

    def register(server: grpc.aio.Server) -> None:
        method = parley_wire.RawMethod(open_handler, request_streaming=True)
        server.add_registered_method_handlers(SERVICE, {"Raw": method})

    server, address = await start_server(EchoService().add_to, register)
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


async def test_closed_connections_leave_no_cycles(start_server: StartServer) -> None:
    """Everything of a connection is freed at once, without the garbage collector: planted, a reference from
    the sender back to its connection was found.
    """
    service = EchoService()
    server, address = await start_server(service.add_to)
    kinds = (ServerConnection, Connection, Stream, ServicerCall)

    def alive() -> int:
        return sum(isinstance(thing, kinds) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()
        for _ in range(20):
            async with SocketPeer(address) as peer:
                peer.shake_hands()
                peer.request(1, "Unary")
                peer.body(1, message(b"hi"), end_stream=True)
                await peer.trailers(1)
                peer.request(3, "Both")
                peer.write(frames.ping(b"12345678", ack=False))
                await peer.until(frames.PING)
        await until(lambda: server.calls == 0 and not server.tasks)
        await until(lambda: not server._connections)
        await asyncio.sleep(0.05)
        assert alive() - before < 10
    finally:
        gc.enable()
