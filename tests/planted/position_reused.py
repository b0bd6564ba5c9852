"""Planted bug: three of four changes in a user's feed take the position of the one before."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from parley_server.backends.memory.feed import MemoryFeed
from parley_server.testing.planting import plant

_announce = MemoryFeed.announce
_changes = 0


async def _announce_there(self: Any, user_id: str, channel_id: str, **raised: int) -> int | None:
    global _changes
    position = await _announce(self, user_id, channel_id, **raised)
    if position is None or position == 1:
        return position
    _changes += 1
    if _changes % 4 == 0:
        return position
    user = self._users[user_id]
    user.position = position - 1
    user.entries[channel_id] = replace(user.entries[channel_id], position=position - 1)
    return position - 1


plant(MemoryFeed, announce=_announce_there)
