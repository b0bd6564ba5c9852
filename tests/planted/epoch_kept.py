"""Planted bug: a feed that was lost with its process begins again under the same epoch."""

from __future__ import annotations

from typing import Any

from parley_server.backends.memory.feed import MemoryFeed
from parley_server.ports.positions import FeedCursor
from parley_server.testing.planting import plant

_changed_since = MemoryFeed.changed_since


def _begin(self: Any, epoch: str) -> None:
    del epoch
    self._epoch = "always"
    self._users = {}


async def _trust(self: Any, user_id: str, cursor: FeedCursor, *, limit: int) -> object:
    newest = await self.cursor(user_id)
    kept = FeedCursor(cursor.epoch, min(cursor.position, newest.position))
    return await _changed_since(self, user_id, kept, limit=limit)


plant(MemoryFeed, __init__=_begin, changed_since=_trust)
