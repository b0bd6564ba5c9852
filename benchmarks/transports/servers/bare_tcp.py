"""The floor: asyncio connections that are written to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from benchmarks.transports.crowd import Crowd


GREETING = b"welcome\n"
THANKS_BYTES = 8


class Member(asyncio.Protocol):
    """One connection. It greets, and echoes what comes behind the answer to that."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._thanks_bytes = THANKS_BYTES

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(GREETING)

    def data_received(self, data: bytes) -> None:
        if not self._thanks_bytes:
            self._transport.write(data)
            return
        self._thanks_bytes -= len(data)
        if self._thanks_bytes <= 0:
            self._crowd.join(self, self._transport.write)
            self._transport.write(data[len(data) + self._thanks_bytes :])
            self._thanks_bytes = 0

    def pause_writing(self) -> None:
        self._crowd.hold(self)

    def resume_writing(self) -> None:
        self._crowd.took(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._crowd.leave(self)


async def start(crowd: Crowd) -> tuple[int, object]:
    """Serve; returns the port, and what lives as long as it serves."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Member(crowd), "127.0.0.1", 0, backlog=4096)
    return int(server.sockets[0].getsockname()[1]), server
