"""Planted bug: four of every eight events of a channel are not announced. Open streams get them."""

from __future__ import annotations

from typing import Any

from parley_server.backends.memory.feed import MemoryFeed
from parley_server.testing.planting import plant

_announce = MemoryFeed.announce


async def _announce_most(self: Any, user_id: str, channel_id: str, **raised: int) -> int | None:
    # By the head, so that a loss is the same for all members.
    if raised.get("head_seq", 0) % 8 >= 4:
        return None
    return await _announce(self, user_id, channel_id, **raised)


plant(MemoryFeed, announce=_announce_most)
