"""TLS spoken to a plain-text port, plain text to a TLS port: what the operator reads."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

import parley_wire
from parley_wire import frames
from parley_wire.mistaken_clients import MistakenClients
from parley_wire.options import ServerOptions
from parley_wire.testing.echo_client import unary_of
from parley_wire.testing.echo_service import EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Certificate, StartServer

PLAIN_TEXT, TLS = "spoke plain text", "spoke TLS"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the operator reads: warnings and worse."""
    return lambda: [record.getMessage() for record in caplog.records if record.name == "parley_wire"]


async def test_grpcs_client_without_tls(
    start_server: StartServer,
    make_certificate: Callable[[str], Certificate],
    lines: Callable[[], list[str]],
) -> None:
    """Sees a closed socket; the log says why. Planted: nobody told anybody."""
    own = make_certificate("localhost")
    credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
    _, address = await start_server(EchoService().add_to, credentials=credentials)
    async with grpc.aio.insecure_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await unary_of(channel)(b"a secret", metadata=(("authorization", "Bearer token"),))
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    line = lines()[0]
    assert PLAIN_TEXT in line and f"to ipv4:{address}" in line and "connect with TLS" in line
    assert "secret" not in line and "token" not in line


@pytest.mark.parametrize(
    "sent",
    [frames.PREFACE, b"GET / HTTP/1.1\r\n\r\n", b"CONNECT host:1 HTTP/1.1\r\n\r\n", b"SSH-2.0-who\r\n"],
)
async def test_plain_text_of_any_kind(
    start_server: StartServer,
    make_certificate: Callable[[str], Certificate],
    lines: Callable[[], list[str]],
    sent: bytes,
) -> None:
    """OpenSSL knows some of it by name."""
    own = make_certificate("localhost")
    credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
    _, address = await start_server(credentials=credentials)
    async with SocketPeer(address) as peer:
        peer.write(sent)
        await peer.until_closed()
    (line,) = lines()
    assert PLAIN_TEXT in line


async def test_tls_that_fails_is_no_mistake(
    start_server: StartServer,
    make_certificate: Callable[[str], Certificate],
    lines: Callable[[], list[str]],
) -> None:
    """A client that does not trust the certificate, and one that goes away: nothing is said of the port."""
    own = make_certificate("localhost")
    credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
    server, address = await start_server(credentials=credentials)
    with pytest.raises(ssl.SSLError):
        async with SocketPeer(address, tls=ssl.create_default_context()):
            pass
    async with SocketPeer(address) as peer:
        peer.write(b"\x16\x03\x01")
    await until(lambda: not server._listeners[0]._handshakes)
    assert lines() == []


async def test_a_tls_client_on_a_plain_text_port(
    start_server: StartServer,
    make_certificate: Callable[[str], Certificate],
    lines: Callable[[], list[str]],
) -> None:
    """The same the other way round. Planted: its handshake was bad HTTP/2 like any other."""
    own = make_certificate("localhost")
    _, address = await start_server(EchoService().add_to)
    with pytest.raises(ssl.SSLError):
        async with SocketPeer(address, tls=parley_wire.tls_client_context(own.certificate_file)):
            pass
    (line,) = lines()
    assert TLS in line and f"to ipv4:{address}" in line and "in plain text" in line


async def test_on_a_unix_socket(
    start_server: StartServer, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    """Ports have names of other kinds; what is neither TLS nor HTTP/2 is no such mistake."""
    _, address = await start_server(address=f"unix:{tmp_path / 'socket'}")
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n\r\n"):
        async with SocketPeer(address) as peer:
            peer.write(sent)
            await peer.until_closed()
    (line,) = lines()
    assert line.startswith(f"unix: spoke TLS to {address}, ")


def test_lines_are_few(lines: Callable[[], list[str]]) -> None:
    """Two a minute: the third client waits for the next line. Planted: one line for each filled the log."""
    clients = MistakenClients(2)
    for number in range(5):
        clients.spoke_tls(f"ipv4:10.0.0.{number}:1", "ipv4:10.0.0.9:1", 1000.0)
    assert [line.partition(" ")[0] for line in lines()] == ["ipv4:10.0.0.0:1", "ipv4:10.0.0.1:1"]
    clients.spoke_plain_text("ipv4:10.0.0.5:1", "ipv4:10.0.0.9:1", 1030.0)
    assert len(lines()) == 3
    assert lines()[2].endswith("(3 more like it were not logged)")
    clients.spoke_tls("ipv4:10.0.0.6:1", "ipv4:10.0.0.9:1", 1060.0)
    assert "more" not in lines()[3]


async def test_lines_of_a_server_are_few(start_server: StartServer, lines: Callable[[], list[str]]) -> None:
    """Its option counts; none at all are none."""
    for limit in (2, 0):
        before = len(lines())
        _, address = await start_server(options=ServerOptions(mistaken_client_lines_per_minute=limit))
        for _ in range(4):
            async with SocketPeer(address) as peer:
                peer.write(b"\x16\x03\x01\x02\x00\x01\x00")
                await peer.until_closed()
        assert len(lines()) - before == limit
