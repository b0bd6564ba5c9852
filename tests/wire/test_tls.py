"""TLS, ALPN, client certificates."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tracemalloc
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

import parley_wire
from parley_wire import frames
from parley_wire.headers import encode
from parley_wire.testing.echo_client import unary_of
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import REQUEST
from parley_wire.testing.quick_options import quick_options
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .conftest import Certificate, StartServer


async def test_calls(start_server: StartServer, make_certificate: Callable[[str], Certificate]) -> None:
    """With grpcio's client; messages of any size."""
    own = make_certificate("localhost")
    credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
    _, address = await start_server(EchoService().add_to, credentials=credentials)
    trusted = grpc.ssl_channel_credentials(own.pem)
    async with grpc.aio.secure_channel(address.replace("127.0.0.1", "localhost"), trusted) as channel:
        for size in (0, 100, 2_000_000):
            assert len(await unary_of(channel)(b"x" * size)) == size


async def test_a_client_certificate(
    start_server: StartServer, make_certificate: Callable[[str], Certificate]
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
    start_server: StartServer, make_certificate: Callable[[str], Certificate]
) -> None:
    """Does not speak HTTP/2: closed."""
    own = make_certificate("localhost")
    credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
    _, address = await start_server(EchoService().add_to, credentials=credentials)
    async with SocketPeer(address, tls=ssl.create_default_context(cafile=own.certificate_file)) as peer:
        assert await peer.until_closed() == []


async def test_handshakes_that_never_end(
    start_server: StartServer, make_certificate: Callable[[str], Certificate]
) -> None:
    """Bounded in number and in time; proper clients are served afterwards."""
    own = make_certificate("localhost")
    credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
    options = quick_options(unfinished_handshakes=2, handshake_seconds=2.0)
    server, address = await start_server(EchoService().add_to, credentials=credentials, options=options)
    async with SocketPeer(address) as one, SocketPeer(address) as two:
        (listener,) = server._listeners
        await until(lambda: len(listener._handshakes) == 2)
        async with SocketPeer(address) as three:
            assert await three.until_closed() == []
            # Not for the time that it took: they have as much.
            assert len(listener._handshakes) == 2
        assert await one.until_closed() == await two.until_closed() == []
    trusted = grpc.ssl_channel_credentials(own.pem)
    async with grpc.aio.secure_channel(address.replace("127.0.0.1", "localhost"), trusted) as channel:
        assert await unary_of(channel)(b"hi") == b"hi"


async def test_grpcs_own_credentials_are_refused(make_certificate: Callable[[str], Certificate]) -> None:
    """They cannot be read; the error says what to do."""
    own = make_certificate("localhost")
    opaque = grpc.ssl_server_credentials([(own.key_file.read_bytes(), own.pem)])
    with pytest.raises(TypeError, match="tls_server_credentials"):
        parley_wire.Server().add_secure_port("127.0.0.1:0", opaque)


async def test_what_a_refused_connection_says_goes_nowhere(
    start_server: StartServer, make_certificate: Callable[[str], Certificate]
) -> None:
    """Without ALPN, or one too many: a request that came along with the handshake starts nothing, and the
    connection is gone. Planted: closed politely, it stayed for as long as its client liked, known to no
    limit.
    """
    own = make_certificate("localhost")
    service = EchoService()
    credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
    options = quick_options(connections=1)
    server, address = await start_server(service.add_to, credentials=credentials, options=options)
    fields = [(n, f"/{SERVICE}/Both".encode() if n == b":path" else v) for n, v in REQUEST]
    sent = frames.PREFACE + frames.settings(()) + frames.headers(1, encode(fields), end_stream=False)
    without_alpn = ssl.create_default_context(cafile=own.certificate_file)
    # With TLS 1.3 the client's first words come together with the end of its handshake.
    await asyncio.to_thread(speak_with_the_handshake, without_alpn, address, sent)
    context = parley_wire.tls_client_context(own.certificate_file)
    async with SocketPeer(address, tls=context) as first:
        first.shake_hands()
        await first.until(frames.SETTINGS)
        await asyncio.to_thread(speak_with_the_handshake, context, address, sent)
        assert service.log == []
        assert server.calls == 0


def speak_with_the_handshake(context: ssl.SSLContext, address: str, sent: bytes) -> None:
    """A TLS client that sends the end of its handshake and its first words in one piece."""
    host, _, port = address.rpartition(":")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65_536))
        tls.write(sent)
        plain.sendall(outgoing.read())
        try:
            while plain.recv(65_536):
                pass
        except ConnectionResetError:
            pass


async def test_a_slow_reader(
    start_server: StartServer, make_certificate: Callable[[str], Certificate]
) -> None:
    """Whoever opens its windows wide and reads nothing makes the server hold what the limits say, TLS or not;
    when it reads again everything comes. Planted: with `pause_writing` ignored no stream was told to wait.
    """
    own = make_certificate("localhost")
    credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
    count, part = 1000, b"x" * 16_000

    async def much(_requests: object, _context: object) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield part

    def register(server: grpc.aio.Server) -> None:
        handler: Any = grpc.stream_stream_rpc_method_handler(much)
        server.add_registered_method_handlers(SERVICE, {"Both": handler})

    server, address = await start_server(register, credentials=credentials)
    context = parley_wire.tls_client_context(own.certificate_file)
    async with SocketPeer(address, tls=context, receive_buffer_bytes=4096) as peer:
        peer.shake_hands(((4, 2**31 - 1),))
        peer.write(frames.window_update(0, 2**30))
        await peer.until(frames.SETTINGS)
        (connection,) = server._connections
        tracemalloc.start()
        try:
            peer.request(1, "Both")
            await until(lambda: connection.core.sender.paused)
            await asyncio.sleep(0.1)
            assert connection.core.sender.paused
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 2_000_000
        size = 0
        while size < count * (len(part) + 5):
            size += len((await peer.until(frames.DATA, 1)).payload)
        await peer.trailers(1)
