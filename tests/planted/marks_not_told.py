"""Planted bug: a raised read position is stored, and the user's other devices hear nothing of it."""

from __future__ import annotations

from typing import Any

from parley_server.backends.memory.feed import MemoryFeed
from parley_server.chat.hub import Hub
from parley_server.testing.planting import plant

_announce = MemoryFeed.announce


async def _announce_heads(self: Any, user_id: str, channel_id: str, **raised: int) -> int | None:
    if raised.get("read_seq"):
        return None
    return await _announce(self, user_id, channel_id, **raised)


plant(MemoryFeed, announce=_announce_heads)
plant(Hub, control=lambda *_arguments: None)
