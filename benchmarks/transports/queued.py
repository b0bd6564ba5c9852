"""A member of the crowd whose handler waits for messages in a queue: how such servers are usually written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.transports.crowd import Crowd


class Queued:
    """Joins at once. The handler takes messages with `next`, and writes each before it asks again."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        # As many as a paced run may be behind; a saturated one waits for each.
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(maxsize=10_000)
        crowd.join(self, self._send)

    def _send(self, message: bytes) -> bool:
        self._queue.put_nowait(message)
        return False

    async def next(self) -> bytes:
        """The next message."""
        if self._queue.empty():
            self._crowd.took(self)
        return await self._queue.get()

    def leave(self) -> None:
        """The stream is over."""
        self._crowd.leave(self)
