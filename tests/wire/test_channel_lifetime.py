"""Channels at the moments when something begins or ends."""

from __future__ import annotations

import asyncio

import grpc
import pytest

import parley_wire
from parley_wire import CallFailed, Channel, frames
from parley_wire.limits import Limits
from parley_wire.options import ServerOptions
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.eventually import until

UNARY, BOTH = f"/{SERVICE}/Unary", f"/{SERVICE}/Both"


async def waiting_calls(server_options: ServerOptions) -> tuple[parley_wire.Server, Channel]:
    server = parley_wire.Server(server_options)
    EchoService().add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, Channel(f"127.0.0.1:{port}")


@pytest.mark.parametrize("woken_first", [True, False])
async def test_a_turn_that_nobody_takes_is_the_next_ones(woken_first: bool) -> None:
    """Two calls wait for room; the first is given up just as its turn comes. Planted: its turn was lost, and
    the second waited for ever; or it was looked for where it stood no more, with a ValueError.
    """
    server, channel = await waiting_calls(ServerOptions(limits=Limits(streams_per_connection=1)))
    async with channel:
        present = await channel.open(BOTH)
        first, second = (asyncio.create_task(channel.open(BOTH)) for _ in range(2))
        await until(lambda: len(channel._waiting) == 2)
        connection = channel._connection
        assert connection is not None
        if not woken_first:
            first.cancel()
        present.cancel()
        connection.flush()
        if woken_first:
            first.cancel()
        async with asyncio.timeout(5):
            call = await second
        call.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
    await server.stop(0)


async def test_closing_while_it_connects() -> None:
    """To a server that says nothing: the socket is closed with the channel. Planted: it stayed open."""
    accepted: asyncio.Future[asyncio.StreamReader] = asyncio.get_running_loop().create_future()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(reader)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    channel = Channel(f"127.0.0.1:{port}")
    opening = asyncio.create_task(channel.open(UNARY))
    reader = await accepted
    await channel.close()
    with pytest.raises(CallFailed) as raised:
        await opening
    assert raised.value.code is grpc.StatusCode.UNAVAILABLE
    await until(reader.at_eof)
    server.close()
    await server.wait_closed()


async def test_a_server_that_sends_everybody_away() -> None:
    """GOAWAY with its first words: that is a failed attempt, and the next one has to wait. Planted: the
    channel connected again and again, as fast as it could, for as long as a call waited.
    """
    accepted: list[int] = []

    async def away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        writer.write(frames.settings(()) + frames.goaway(0, 0, b"elsewhere"))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(away, "127.0.0.1", 0)
    async with Channel(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as channel:
        for _ in range(3):
            with pytest.raises(CallFailed) as raised:
                await channel.unary(UNARY, b"hi", timeout=1)
            assert raised.value.code is grpc.StatusCode.UNAVAILABLE
            assert "sends everybody away" in raised.value.details
    assert len(accepted) <= 2
    server.close()
    await server.wait_closed()
