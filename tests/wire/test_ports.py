"""Where a server listens."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest

import parley_wire
from parley_wire.listener import BREATH_SECONDS
from parley_wire.options import ServerOptions
from parley_wire.peer_identity import peer_text
from parley_wire.testing.echo_client import call
from parley_wire.testing.echo_service import EchoService
from parley_wire.testing.eventually import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Certificate, StartServer


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


async def test_the_file_of_a_unix_socket_goes_first(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it is there, somebody listens: a server that starts meanwhile finds the address in use, and
    cannot have put a file of its own there when ours is removed. Planted: removed behind the socket.
    """
    path = tmp_path / "socket"
    server, address = await start_server(address=f"unix:{path}")
    in_use: list[str] = []

    def remove(removed: str) -> None:
        with pytest.raises(RuntimeError, match="in use"):
            parley_wire.Server().add_insecure_port(address)
        in_use.append(removed)
        os.remove(removed)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", remove)
        await server.stop(0)
    assert in_use == [str(path)]
    assert not path.exists()


async def test_an_accept_that_fails(
    start_server: StartServer,
    make_certificate: Callable[[str], Certificate],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No file descriptor is left: it is logged once and tried again after a moment, not all the time; the
    client that waited is served. Planted: tried again at once, there was a line for each turn of the loop.
    """
    server, address = await start_server_with_tls(start_server, make_certificate)
    with socket.socket() as client:
        with no_file_descriptors():
            connect(client, address)
            await until(lambda: "cannot accept" in caplog.text)
            # Many turns of the loop, and less than the moment.
            for _ in range(20):
                await asyncio.sleep(0)
        (listener,) = server._listeners
        await until(lambda: len(listener._handshakes) == 1)
    assert caplog.text.count("cannot accept") == 1


async def test_a_stop_after_an_accept_that_failed(
    start_server: StartServer,
    make_certificate: Callable[[str], Certificate],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not tried again on a socket that is closed. Planted: the timer ran on, and raised."""
    loop = asyncio.get_running_loop()
    failures: list[object] = []
    loop.set_exception_handler(lambda _loop, context: failures.append(context))
    server, address = await start_server_with_tls(start_server, make_certificate)
    with socket.socket() as client, no_file_descriptors():
        connect(client, address)
        await until(lambda: "cannot accept" in caplog.text)
    await server.stop(0)
    # Timers go in order: the listener's would have been before this one.
    await asyncio.sleep(BREATH_SECONDS)
    assert failures == []


async def start_server_with_tls(
    start_server: StartServer, make_certificate: Callable[[str], Certificate]
) -> tuple[parley_wire.Server, str]:
    """With TLS we accept connections by ourselves; without, the loop does."""
    own = make_certificate("localhost")
    credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
    return await start_server(EchoService().add_to, credentials=credentials)


@contextlib.contextmanager
def no_file_descriptors() -> Iterator[None]:
    """This process gets no new ones."""
    # What other tests left would give some back just now.
    gc.collect()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(client: socket.socket, address: str) -> None:
    host, _, port = address.rpartition(":")
    client.connect((host, int(port)))


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
