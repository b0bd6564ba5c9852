"""What connections and calls leave behind."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

from parley_wire import frames
from parley_wire.connection import Connection
from parley_wire.server_connection import ServerConnection
from parley_wire.servicer_call import ServicerCall
from parley_wire.stream import Stream
from parley_wire.testing.echo_service import EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import message
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from .conftest import StartServer


async def test_closed_connections_leave_no_cycles(start_server: StartServer) -> None:
    """Everything of a connection is freed at once, without the garbage collector: planted, a reference from
    the sender back to its connection was found.
    """
    service = EchoService()
    server, address = await start_server(service.add_to)
    kinds = (ServerConnection, Connection, Stream, ServicerCall)

    def alive() -> int:
        return sum(isinstance(thing, kinds) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()
        for _ in range(20):
            async with SocketPeer(address) as peer:
                peer.shake_hands()
                peer.request(1, "Unary")
                peer.body(1, message(b"hi"), end_stream=True)
                await peer.trailers(1)
                peer.request(3, "Both")
                peer.write(frames.ping(b"12345678", ack=False))
                await peer.until(frames.PING)
        await until(lambda: server.calls == 0 and not server.tasks)
        await until(lambda: not server._connections)
        await asyncio.sleep(0.05)
        assert alive() - before < 10
    finally:
        gc.enable()
