"""What outlives the terminal client: messages that were not answered yet, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import parley
from parley.chat.v1 import message_requests_pb2


class OutboxState:
    """A state store that keeps the outbox and forgets the position.

    A screen that is opened shows how things are now: it fetches the inbox instead of everything that happened
    while it was closed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store = parley.SqliteState(path)

    async def open(self, user_id: str) -> parley.StoredState:
        """As in `parley.State`."""
        stored = await self._store.open(user_id)
        return parley.StoredState(outbox=stored.outbox)

    async def save_position(self, seqs: Mapping[str, int], cursor: str) -> None:
        """Nothing is stored."""

    async def add_message(self, request: message_requests_pb2.SendMessageRequest) -> None:
        """As in `parley.State`."""
        await self._store.add_message(request)

    async def remove_messages(self, client_message_ids: Sequence[str]) -> None:
        """As in `parley.State`."""
        await self._store.remove_messages(client_message_ids)

    async def close(self) -> None:
        """As in `parley.State`."""
        await self._store.close()
