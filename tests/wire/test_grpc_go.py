"""grpc-go: a Go program of its own (grpc_go_client) calls our server as Go developers do.

It checks what it gets and prints how it went; what happens on the server's side is checked here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

import parley_wire
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_wire.options import ServerOptions
from parley_wire.testing.echo_service import EchoService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from .conftest import Certificate, StartServer

pytestmark = pytest.mark.needs_go

MIB = 1024 * 1024
LIMIT_SECONDS = 100
# No part of the server's side is needed for these.
ALONE = [
    "unary",
    "server_stream",
    "client_stream",
    "bidi",
    "metadata",
    "gzip",
    "large",
    "errors",
    "details",
    "slow_reader",
]


class GoClient:
    """One run of the program, for one case."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def waiting(self) -> str:
        """What it waits for us to do. Raises AssertionError if it ended instead."""
        line = await self._line()
        assert "waiting" in line, line
        return str(line["waiting"])

    def go_on(self) -> None:
        """We did it."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def done(self) -> dict[str, Any]:
        """The figures of a run that must have gone well."""
        line = await self._line()
        assert line.get("ok") is True, line
        assert await self._process.wait() == 0
        return line

    async def _line(self) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        async with asyncio.timeout(LIMIT_SECONDS):
            line = await stdout.readline()
        assert line, "the program ended without a word"
        found: dict[str, Any] = json.loads(line)
        return found


@contextlib.asynccontextmanager
async def playing(program: Path, address: str, case: str, *flags: object) -> AsyncIterator[GoClient]:
    """A run of the program, which is over afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(str(program), *map(str, flags), address, case),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield GoClient(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # Reading to the end closes the pipes' transports, which would otherwise outlive the loop.
        await process.communicate()


async def play(program: Path, address: str, case: str, *flags: object) -> dict[str, Any]:
    async with playing(program, address, case, *flags) as client:
        return await client.done()


async def until_no_call_is_left(server: parley_wire.Server) -> None:
    async with asyncio.timeout(10):
        while server.calls or server.tasks:  # noqa: ASYNC110  # the server has no event for this
            await asyncio.sleep(0.01)


def counting_connections(server: parley_wire.Server) -> list[object]:
    """Grows by one with every connection that the server takes."""
    made: list[object] = []
    admit = server.admit

    def counted(*arguments: Any) -> bool:
        made.append(arguments)
        return admit(*arguments)

    server.admit = counted  # type: ignore[method-assign,assignment]
    return made


@pytest.mark.parametrize("case", ALONE)
async def test_calls(start_server: StartServer, grpc_go_client: Path, case: str) -> None:
    """All kinds of calls, messages of 4 MiB, gzip, metadata, errors with details. Planted: a message that is
    left out is reported with its number.
    """
    server, address = await start_server(EchoService().add_to)
    await play(grpc_go_client, address, case)
    await until_no_call_is_left(server)


@pytest.mark.parametrize("case", ["unary", "bidi", "large", "slow_reader"])
async def test_calls_over_tls(
    start_server: StartServer,
    grpc_go_client: Path,
    make_certificate: Callable[[str], Certificate],
    case: str,
) -> None:
    """With a client's certificate, too."""
    own, client = make_certificate("localhost"), make_certificate("go-client")
    credentials = parley_wire.tls_server_credentials(
        own.certificate_file, own.key_file, client_ca_file=client.certificate_file
    )
    _, address = await start_server(EchoService().add_to, credentials=credentials)
    flags = ("-ca", own.certificate_file, "-cert", client.certificate_file, "-key", client.key_file)
    await play(grpc_go_client, address, case, *flags)


async def test_a_unix_socket(start_server: StartServer, grpc_go_client: Path, tmp_path: Path) -> None:
    """Named as grpc-go names it."""
    _, address = await start_server(EchoService().add_to, address=f"unix:{tmp_path / 'socket'}")
    await play(grpc_go_client, address, "unary")


async def test_deadlines(start_server: StartServer, grpc_go_client: Path) -> None:
    """The client is told in time, and both handlers are cancelled: of a call that waits and of a stream that
    has begun to answer.
    """
    service = EchoService()
    server, address = await start_server(service.add_to)
    await play(grpc_go_client, address, "deadline")
    await until_no_call_is_left(server)
    assert service.log.count("cancelled") == 2


async def test_cancelling_a_call_that_waits(start_server: StartServer, grpc_go_client: Path) -> None:
    """Its handler is cancelled. The connection goes on."""
    service = EchoService()
    _, address = await start_server(service.add_to)
    async with playing(grpc_go_client, address, "cancel_waiting") as client:
        await client.waiting()
        await service.until("sleeping")
        client.go_on()
        await client.waiting()
        await service.until("cancelled")
        client.go_on()
        await client.done()


async def test_cancelling_in_the_middle_of_a_stream(start_server: StartServer, grpc_go_client: Path) -> None:
    """While data goes both ways, many times; the connection's window is as before. Planted: with the unread
    bytes of a reset stream not given back, the calls behind it hung.
    """
    server, address = await start_server(EchoService().add_to)
    await play(grpc_go_client, address, "cancel_midstream")
    await until_no_call_is_left(server)


async def test_keep_alive_of_the_server(start_server: StartServer, grpc_go_client: Path) -> None:
    """A client that says nothing for long is pinged many times, answers, and keeps its stream."""
    options = ServerOptions(sweep_seconds=0.02, keepalive_seconds=0.1, keepalive_timeout_seconds=1.0)
    _, address = await start_server(EchoService().add_to, options=options)
    await play(grpc_go_client, address, "keepalive", "-seconds", 1.5)


@pytest.mark.slow
async def test_keep_alive_of_the_client(start_server: StartServer, grpc_go_client: Path) -> None:
    """As often as grpc-go allows, which is every ten seconds: our server finds nothing wrong with it."""
    server, address = await start_server(EchoService().add_to)
    made = counting_connections(server)
    await play(grpc_go_client, address, "keepalive", "-seconds", 11)
    assert len(made) == 1


async def test_stop_lets_calls_finish(start_server: StartServer, grpc_go_client: Path) -> None:
    """Ten streams go on behind the GOAWAY and end as they would; a new call is refused. Planted: with the
    streams reset at the GOAWAY each of them failed.
    """
    server, address = await start_server(EchoService().add_to)
    async with playing(grpc_go_client, address, "graceful_stop") as client:
        await client.waiting()
        stopping = asyncio.create_task(server.stop(30))
        # Until the listener is closed nothing was said to anybody.
        await asyncio.sleep(0)
        client.go_on()
        await client.done()
        async with asyncio.timeout(5):
            await stopping


async def test_stop_without_grace(start_server: StartServer, grpc_go_client: Path) -> None:
    """A stream and a waiting call hear UNAVAILABLE, with the reason."""
    service = EchoService()
    server, address = await start_server(service.add_to)
    async with playing(grpc_go_client, address, "hard_stop") as client:
        await client.waiting()
        await service.until("sleeping")
        client.go_on()
        await server.stop(0)
        assert (await client.done())["told"] == "the server stops"


async def test_connections_that_grow_old(start_server: StartServer, grpc_go_client: Path) -> None:
    """Calls and streams one after the other for a while, over connections that are told to go after a fifth
    of a second: not one fails. Planted: with the connections closed at that age, some did.
    """
    options = ServerOptions(sweep_seconds=0.02, connection_age_seconds=0.2, connection_age_grace_seconds=10.0)
    server, address = await start_server(EchoService().add_to, options=options)
    made = counting_connections(server)
    figures = await play(grpc_go_client, address, "connection_age", "-seconds", 2.5)
    assert figures["calls"] > 10
    assert len(made) >= 3


async def test_a_thousand_streams_at_once(start_server: StartServer, grpc_go_client: Path) -> None:
    """All on one connection, all with traffic; one more call waits until there is room, as the server's
    settings say.
    """
    server, address = await start_server(EchoService().add_to)
    async with playing(grpc_go_client, address, "many_streams") as client:
        await client.waiting()
        assert server.calls == 1000
        assert len(server._connections) == 1
        client.go_on()
        await client.done()
    await until_no_call_is_left(server)


async def test_a_parley_node(
    grpc_go_client: Path, make_certificate: Callable[[str], Certificate], tmp_path: Path
) -> None:
    """Sign-up, Connect, sending and receiving a hundred messages in order, over TLS, with nothing but what
    the node says of itself by reflection; then an error out of the catalogue.
    """
    own = make_certificate("localhost")
    settings = {
        "transport": "wire",
        "tls.certificate_file": str(own.certificate_file),
        "tls.key_file": str(own.key_file),
    }
    node = NodeProcess(tmp_path / "node", settings, plants=(CHEAP_PASSWORDS,))
    try:
        await node.start()
        figures = await play(grpc_go_client, node.address, "parley", "-ca", own.certificate_file)
    finally:
        await node.close()
    assert figures["messages"] == 100
    assert figures["reason"] == "TOKEN_MISSING"
