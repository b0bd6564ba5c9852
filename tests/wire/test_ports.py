"""Where a server listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import parley_wire
from parley_wire.options import ServerOptions
from parley_wire.peer_identity import peer_text
from parley_wire.testing.echo_client import call
from parley_wire.testing.echo_service import EchoService

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import StartServer


async def test_ipv6(start_server: StartServer) -> None:
    """Its peers are printed as grpc prints them."""
    _, address = await start_server(EchoService().add_to, address="[::1]:0")
    assert (await call(address, b"peer")).startswith(b"ipv6:%5B::1%5D:")


async def test_a_unix_socket(start_server: StartServer, tmp_path: Path) -> None:
    """Removed when the server stops."""
    path = tmp_path / "socket"
    server, address = await start_server(EchoService().add_to, address=f"unix:{path}")
    assert await call(address, b"peer") == b"unix:"
    await server.stop(0)
    assert not path.exists()


async def test_a_port_in_use(start_server: StartServer) -> None:
    """RuntimeError, as grpc.aio."""
    _, address = await start_server()
    with pytest.raises(RuntimeError, match="cannot listen"):
        parley_wire.Server().add_insecure_port(address)


async def test_one_port_for_several_servers(start_server: StartServer) -> None:
    """With `reuse_port` the kernel spreads connections."""
    services = [EchoService(), EchoService()]
    _, address = await start_server(services[0].add_to, options=ServerOptions(reuse_port=True))
    await start_server(services[1].add_to, options=ServerOptions(reuse_port=True), address=address)
    assert await call(address) == b"hi"


async def test_a_port_after_the_start(start_server: StartServer) -> None:
    """Is refused."""
    server, _ = await start_server()
    with pytest.raises(RuntimeError, match="before the server starts"):
        server.add_insecure_port("127.0.0.1:0")


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:x", "no.such.host.invalid:0"])
async def test_an_address_that_is_none(address: str) -> None:
    """RuntimeError with the address in it."""
    with pytest.raises(RuntimeError, match="cannot listen"):
        parley_wire.Server().add_insecure_port(address)


def test_how_peers_are_printed() -> None:
    """By family."""
    assert peer_text(("127.0.0.1", 5)) == "ipv4:127.0.0.1:5"
    assert peer_text(("::1", 5, 0, 0)) == "ipv6:%5B::1%5D:5"
    assert peer_text("") == "unix:"
