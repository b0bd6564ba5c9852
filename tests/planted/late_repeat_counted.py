"""Planted bug: an announcement that comes once more, late, is answered with the feed's newest position. That
belongs to somebody else's change, which is still on its way.

Announcing takes a moment, as with a feed behind a network, and every batch is announced twice.
"""

from __future__ import annotations

import asyncio
from typing import Any

from parley_server.backends.memory.feed import MemoryFeed
from parley_server.chat.fanout import Fanout

FEED_SECONDS = 0.01
REPEAT_SECONDS = 0.02
_announce = MemoryFeed.announce
_publish = Fanout.publish
_running: set[asyncio.Task[None]] = set()


async def _announce_somewhere(self: Any, user_id: str, channel_id: str, **raised: int) -> int:
    position = await _announce(self, user_id, channel_id, **raised)
    if position is None:
        newest: int = (await self.cursor(user_id)).position
        return newest
    await asyncio.sleep(FEED_SECONDS)
    return position


async def _repeat(self: Any, *batch: Any) -> None:
    await asyncio.sleep(REPEAT_SECONDS)
    await _publish(self, *batch)


async def _publish_twice(self: Any, channel_id: str, members_after: Any, events: Any, encoded: Any) -> None:
    batch = (channel_id, frozenset(members_after), events, encoded)
    await _publish(self, *batch)
    task = asyncio.create_task(_repeat(self, *batch))
    _running.add(task)
    task.add_done_callback(_running.discard)


_planted: Any = MemoryFeed
_planted.announce = _announce_somewhere
_planted = Fanout
_planted.publish = _publish_twice
