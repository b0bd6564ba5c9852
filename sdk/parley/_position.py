"""A client's state store, opened once, and what it holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from parley._ledger import Changes
    from parley._state import State
    from parley.chat.v1 import message_requests_pb2


class Position:
    """The stored position, read when it is first needed, and the messages that were stored to be sent."""

    def __init__(self, state: State, user_id: Callable[[], str]) -> None:
        self.state = state
        self.cursor = ""
        self.seqs: dict[str, int] = {}
        self.outbox: list[message_requests_pb2.SendMessageRequest] = []
        self._user_id = user_id
        self._opening: asyncio.Task[None] | None = None

    async def opened(self) -> None:
        """Have the store open. Raises StateError."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="parley state opening")
        await asyncio.shield(self._opening)

    async def save(self, changes: Changes) -> None:
        """Store a change. Raises StateError."""
        await self.state.save_position(changes.seqs, changes.cursor)
        for channel_id, seq in changes.seqs.items():
            self.seqs.pop(channel_id, None)
            self.seqs[channel_id] = seq
        self.cursor = changes.cursor or self.cursor

    async def aclose(self) -> None:
        """Let go of the store."""
        if self._opening is not None:
            await asyncio.wait([self._opening])
            if self._opening.exception() is None:
                await self.state.close()

    async def _open(self) -> None:
        stored = await self.state.open(self._user_id())
        self.cursor, self.seqs, self.outbox = stored.cursor, stored.seqs, stored.outbox
