"""Servers in processes of their own: one port for several, signals at bad moments, what the killed leave."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

import parley_wire
from parley_wire import Channel, frames
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import message
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Certificate

Start = Callable[..., Awaitable["EchoProcess"]]
UNARY, BOTH = f"/{SERVICE}/Unary", f"/{SERVICE}/Both"
LIMIT_SECONDS = 20


class EchoProcess:
    """A running `serve_echo`."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port
        self.pid = process.pid

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def end(self, number: signal.Signals) -> tuple[int, str, float]:
        """Send a signal. The exit code, what it wrote to standard error, and the seconds that it took."""
        started = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        async with asyncio.timeout(LIMIT_SECONDS):
            _, stderr = await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode, stderr.decode(), time.monotonic() - started


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    processes: list[EchoProcess] = []

    async def start_one(address: str = "127.0.0.1:0", *arguments: object) -> EchoProcess:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "parley_wire.testing.serve_echo", address, *map(str, arguments)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(LIMIT_SECONDS):
            line = await process.stdout.readline()
        processes.append(EchoProcess(process, int(line or b"0")))
        return processes[-1]

    yield start_one
    for process in processes:
        await process.end(signal.SIGKILL)


async def who(address: str) -> int:
    """The process that serves a new connection. A connection that waited in a listener which was closed
    before it was accepted is reset by the kernel: the next attempt meets another.
    """
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            async with Channel(address) as channel:
                with contextlib.suppress(parley_wire.CallFailed):
                    return int(await channel.unary(UNARY, b"who"))


async def test_one_port_for_several_processes(start: Start) -> None:
    """The kernel spreads connections over all; when one is told to leave, its calls end well, and the others
    take all that comes.
    """
    first = await start()
    second, third = [await start(first.address) for _ in range(2)]
    pids = {first.pid, second.pid, third.pid}
    async with contextlib.AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(Channel(first.address)) for _ in range(60)]
        answers = await asyncio.gather(*(channel.unary(UNARY, b"who") for channel in channels))
        served = [int(answer) for answer in answers]
        assert set(served) == pids
        calls = [await channel.open(BOTH) for channel in channels]
        for call in calls:
            call.send(b"before")
            assert await call.read() == b"before"
        ending = asyncio.create_task(second.end(signal.SIGTERM))
        # It takes no new connection from here on.
        await until(
            lambda: all(c._connection is None or c._connection.retired for c in of(channels, served, second))
        )
        assert {await who(first.address) for _ in range(20)} <= pids - {second.pid}
        for call in calls:
            call.send(b"after")
            assert await call.read() == b"after"
            call.done_writing()
            assert await call.read() is None
        code, errors, _ = await ending
        assert (code, errors) == (0, "")
        # Who was served by the one that left is served by another.
        assert {int(await channel.unary(UNARY, b"who")) for channel in channels} == pids - {second.pid}


def retired(channel: Channel) -> bool:
    return channel._connection is None or channel._connection.retired


def of(channels: list[Channel], served: list[int], process: EchoProcess) -> list[Channel]:
    return [channel for channel, pid in zip(channels, served, strict=True) if pid == process.pid]


async def test_sigterm_while_clients_shake_hands(
    start: Start, make_certificate: Callable[[str], Certificate]
) -> None:
    """Connections that have said nothing yet, half a TLS greeting, TLS without a preface: none of them holds
    the server up for its grace, and nothing is logged.
    """
    own = make_certificate("localhost")
    process = await start("127.0.0.1:0", own.certificate_file, own.key_file)
    context = parley_wire.tls_client_context(own.certificate_file)
    async with SocketPeer(process.address) as silent, SocketPeer(process.address) as half:
        half.write(b"\x16\x03\x01\x02\x00\x01")
        async with SocketPeer(process.address, tls=context) as without_preface:
            await without_preface.until(frames.SETTINGS)
            code, errors, seconds = await process.end(signal.SIGTERM)
            assert await silent.until_closed() == await half.until_closed() == []
    assert (code, errors) == (0, "")
    assert seconds < 9


async def test_sigterm_in_the_middle_of_a_preface(start: Start) -> None:
    """The same without TLS; a client whose request was on its way is told that it was not looked at."""
    process = await start()
    async with SocketPeer(process.address) as silent, SocketPeer(process.address) as half:
        half.write(frames.PREFACE[:10])
        async with SocketPeer(process.address) as calling:
            calling.shake_hands()
            calling.request(1, "Both")
            calling.body(1, message(b"x"))
            await calling.until(frames.DATA, 1)
            ending = asyncio.create_task(process.end(signal.SIGTERM))
            await calling.until(frames.GOAWAY)
            calling.body(1, b"", end_stream=True)
            await calling.trailers(1)
            code, errors, seconds = await ending
        await silent.until_closed()
        await half.until_closed()
    assert (code, errors) == (0, "")
    assert seconds < 9


async def test_the_socket_of_a_process_that_was_killed(start: Start, tmp_path: Path) -> None:
    """Its file is replaced; the file of one that lives, or a file of another kind, is not."""
    path = tmp_path / "socket"
    address = f"unix:{path}"
    killed = await start(address)
    with pytest.raises(RuntimeError, match="cannot listen"):
        parley_wire.Server().add_insecure_port(address)
    await killed.end(signal.SIGKILL)
    assert path.exists()
    server = parley_wire.Server()
    EchoService().add_to(server)
    server.add_insecure_port(address)
    await server.start()
    async with Channel(address) as channel:
        assert await channel.unary(UNARY, b"hi") == b"hi"
    await server.stop(0)
    assert not path.exists()
    path.write_text("a file")
    with pytest.raises(RuntimeError, match="cannot listen"):
        parley_wire.Server().add_insecure_port(address)
    assert path.read_text() == "a file"


async def test_the_socket_of_another_server_stays(tmp_path: Path) -> None:
    """A server whose file was replaced behind its back leaves the new one alone. Planted: it removed it."""
    path = tmp_path / "socket"
    old = parley_wire.Server()
    old.add_insecure_port(f"unix:{path}")
    path.unlink()
    new = parley_wire.Server()
    new.add_insecure_port(f"unix:{path}")
    await old.stop(0)
    assert path.exists()
    await new.stop(0)
    assert not path.exists()


async def test_a_client_without_tls_is_in_the_log(
    start: Start, make_certificate: Callable[[str], Certificate]
) -> None:
    """On uvloop, as nodes run: which client, which port, what to do. Of what it said, nothing. Planted: with
    the failed handshake passed over, as it was, the log was empty.
    """
    own = make_certificate("localhost")
    process = await start("127.0.0.1:0", own.certificate_file, own.key_file)
    async with SocketPeer(process.address) as peer:
        peer.shake_hands()
        peer.request(1, "Unary")
        await peer.until_closed()
    _, stderr, _ = await process.end(signal.SIGTERM)
    (line,) = stderr.splitlines()
    assert re.fullmatch(
        r"ipv4:127\.0\.0\.1:\d+ spoke plain text \(HTTP/2, most likely\) to "
        rf"ipv4:127\.0\.0\.1:{process.port}, a port with TLS: let the client connect with TLS",
        line,
    )
