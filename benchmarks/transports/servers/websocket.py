"""The websockets library as its examples show it: `broadcast`, and no compression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.transports.crowd import Crowd
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class BroadcastCrowd(Crowd):
    """Members are connections of websockets, which has its own way to send one message to many."""

    def send(self, members: Iterable[tuple[Any, Callable[[bytes], bool | None]]], message: bytes) -> None:
        broadcast([member for member, _ in members], message)


async def start(crowd: Crowd) -> tuple[int, object]:
    """Serve; returns the port, and what lives as long as it serves."""

    class Member(ServerConnection):
        """Says when its socket is full: `broadcast` itself does not mind."""

        def pause_writing(self) -> None:
            super().pause_writing()
            crowd.hold(self)

        def resume_writing(self) -> None:
            super().resume_writing()
            crowd.took(self)

    async def handle(connection: ServerConnection) -> None:
        crowd.join(connection, lambda _message: None)
        try:
            async for message in connection:
                await connection.send(message)
        except ConnectionClosed:
            pass
        finally:
            crowd.leave(connection)

    server = await serve(handle, "127.0.0.1", 0, compression=None, create_connection=Member, backlog=4096)
    return int(next(iter(server.sockets)).getsockname()[1]), server
