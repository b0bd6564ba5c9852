"""Nothing outlives its owner: no timer, no task, after calls, connections, channels and servers are gone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import parley_wire
from parley_wire import Channel, frames
from parley_wire.options import ServerOptions
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import message
from parley_wire.testing.raw_handlers import Mirror, Quiet
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Certificate

UNARY, BOTH, RAW, ONE = (f"/{SERVICE}/{name}" for name in ("Unary", "Both", "Raw", "One"))
LONG_SECONDS = 600.0


def timers() -> int:
    """Timers of the loop that are still to come."""
    loop: Any = asyncio.get_running_loop()
    return sum(not handle.cancelled() for handle in loop._scheduled)


def of_the_package(task: asyncio.Task[Any]) -> bool:
    return any("parley_wire" in frame.f_code.co_filename for frame in task.get_stack())


async def five_calls(server: parley_wire.Server) -> None:
    await until(lambda: server.calls == 5)


async def half_a_block(server: parley_wire.Server) -> None:
    await until(lambda: any(connection.core.header_since for connection in server._connections))


def register(server: parley_wire.Server, service: EchoService) -> None:
    service.add_to(server)
    server.add_registered_method_handlers(
        SERVICE,
        {
            "Raw": parley_wire.RawMethod(Mirror, request_streaming=True),
            "One": parley_wire.RawMethod(Quiet, request_streaming=False),
        },
    )


async def test_calls_leave_no_timers() -> None:
    """With deadlines far away, on both ends: calls that end well, by a status, by either side's cancellation,
    by half a request. Planted: with the deadline of a call not cancelled at its end, hundreds stayed.
    """
    service = EchoService()
    server = parley_wire.Server()
    register(server, service)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with Channel(f"127.0.0.1:{port}") as channel:
        await channel.unary(UNARY, b"hi")
        before = timers()
        for _ in range(50):
            assert await channel.unary(UNARY, b"hi", timeout=LONG_SECONDS) == b"hi"
            with contextlib.suppress(parley_wire.CallFailed):
                await channel.unary(UNARY, b"abort", timeout=LONG_SECONDS)
            with contextlib.suppress(parley_wire.CallFailed):
                await channel.unary("/no/method", b"", timeout=LONG_SECONDS)
            for path in (BOTH, RAW, ONE, UNARY):
                call = await channel.open(path, timeout=LONG_SECONDS)
                call.send(b"hi")
                if path in (BOTH, RAW):
                    await call.read()
                call.cancel()
        await until(lambda: not server.calls and not server.tasks)
        assert timers() <= before
    await server.stop(0)


async def test_servers_and_channels_leave_nothing(make_certificate: Callable[[str], Certificate]) -> None:
    """Stopped in the middle of everything: handshakes, half requests, half headers, streams with deadlines,
    calls that wait. Planted: a channel's keep-alive timer that went on; a sweep that did; the timer of a
    header block that outlived its connection.
    """
    asyncio.get_running_loop().slow_callback_duration = 10
    before, tasks = timers(), asyncio.all_tasks()
    own = make_certificate("localhost")
    credentials = parley_wire.tls_server_credentials(own.certificate_file, own.key_file)
    context = parley_wire.tls_client_context(own.certificate_file)
    for tls in (False, True):
        service = EchoService()
        server = parley_wire.Server(ServerOptions(connection_age_seconds=LONG_SECONDS))
        register(server, service)
        port = (
            server.add_secure_port("127.0.0.1:0", credentials)
            if tls
            else server.add_insecure_port("127.0.0.1:0")
        )
        await server.start()
        address = f"127.0.0.1:{port}"
        channel = Channel(address, tls=context if tls else None, server_name="localhost")
        streams = [await channel.open(path, timeout=LONG_SECONDS) for path in (BOTH, RAW, ONE)]
        waiting = asyncio.create_task(channel.unary(UNARY, b"sleep", timeout=LONG_SECONDS))
        await service.until("sleeping")
        async with SocketPeer(address) as silent, SocketPeer(address) as half:
            half.write(b"\x16\x03\x01\x02\x00\x01" if tls else frames.PREFACE[:10])
            async with SocketPeer(address, tls=context if tls else None) as begun:
                begun.shake_hands()
                begun.request(1, "Unary", timeout=b"10M")
                begun.body(1, message(b"half")[:5])
                begun.write(frames.frame(frames.HEADERS, frames.END_HEADERS, 3, b"never whole")[:15])
                await five_calls(server)
                await half_a_block(server)
                await server.stop(0)
                left = {
                    task for task in asyncio.all_tasks() - tasks if "parley_wire" in repr(task.get_stack())
                }
                assert left <= {waiting}
                await begun.until_closed()
            await silent.until_closed()
            await half.until_closed()
        with contextlib.suppress(parley_wire.CallFailed):
            await waiting
        assert all(stream._ended for stream in streams)
        await channel.close()
    await until(lambda: asyncio.all_tasks() == tasks)
    assert timers() <= before
