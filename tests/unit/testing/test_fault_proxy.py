"""The faulting proxy does what it says, and passes bytes unchanged."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from parley_server.testing.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    """A proxy in front of a server that sends everything back, and ends when its client does."""
    handlers: set[asyncio.Task[None]] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            while chunk := await reader.read(4096):
                writer.write(chunk)
                await writer.drain()
            writer.write(b"bye")
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with FaultProxy(f"127.0.0.1:{port}") as proxy:
        yield proxy
    server.close()
    await asyncio.gather(*handlers, return_exceptions=True)
    await server.wait_closed()


async def _open(proxy: FaultProxy) -> Ends:
    host, _, port = proxy.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _close(ends: Ends) -> None:
    ends[1].close()
    try:
        await ends[1].wait_closed()
    except ConnectionError:
        pass


async def test_a_healthy_network_passes_bytes_unchanged(proxy: FaultProxy) -> None:
    reader, writer = await _open(proxy)
    sent = os.urandom(300_000)
    writer.write(sent)
    assert await reader.readexactly(len(sent)) == sent
    writer.write_eof()
    assert await reader.read() == b"bye"
    await _close((reader, writer))


async def test_a_blackhole_holds_bytes_and_lets_them_go(proxy: FaultProxy) -> None:
    reader, writer = await _open(proxy)
    proxy.set(blackhole=True)
    writer.write(b"hello")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(5), 0.2)
    proxy.heal()
    assert await reader.readexactly(5) == b"hello"
    await _close((reader, writer))


async def test_a_narrow_network_takes_its_time(proxy: FaultProxy) -> None:
    reader, writer = await _open(proxy)
    proxy.set(bytes_per_second=10_000)
    started = time.monotonic()
    writer.write(b"x" * 2000)
    await reader.readexactly(2000)
    # 2000 bytes at 10,000 a second, there and, in pieces, back at the same time: never under 0.2 s.
    assert time.monotonic() - started >= 0.18
    await _close((reader, writer))


@pytest.mark.parametrize("how", ["cut", "reset"])
async def test_connections_end(proxy: FaultProxy, how: str) -> None:
    reader, writer = await _open(proxy)
    writer.write(b"a")
    await reader.readexactly(1)
    assert proxy.open_links == 1
    getattr(proxy, how)()
    try:
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert how == "cut"
    except ConnectionResetError:
        assert how == "reset"
    await _close((reader, writer))


async def test_a_half_close_tells_the_server_only(proxy: FaultProxy) -> None:
    reader, writer = await _open(proxy)
    writer.write(b"a")
    await reader.readexactly(1)
    proxy.half_close()
    assert await reader.read() == b"bye"
    await _close((reader, writer))


async def test_refused_connections_end_at_once(proxy: FaultProxy) -> None:
    proxy.set(refuse=True)
    reader, writer = await _open(proxy)
    assert await reader.read() == b""
    await _close((reader, writer))
