"""TLS, ALPN, client certificates."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

import parley_wire
from parley_wire.testing.echo_client import unary_of
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.quick_options import quick_options
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from collections.abc import Callable

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
    options = quick_options(unfinished_handshakes=2, handshake_seconds=0.5)
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


async def test_grpcs_own_credentials_are_refused(make_certificate: Callable[[str], Certificate]) -> None:
    """They cannot be read; the error says what to do."""
    own = make_certificate("localhost")
    opaque = grpc.ssl_server_credentials([(own.key_file.read_bytes(), own.pem)])
    with pytest.raises(TypeError, match="tls_server_credentials"):
        parley_wire.Server().add_secure_port("127.0.0.1:0", opaque)
