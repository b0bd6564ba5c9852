"""Planted bug: an announcement that comes once more, late, is answered with the feed's newest position. That
belongs to somebody else's change, which is still on its way.

Every batch takes a moment from the feeds to the streams, and an old read position is announced after each.
"""

from __future__ import annotations

import asyncio
from typing import Any

from parley_server.api import frames
from parley_server.backends.memory.feed import MemoryFeed
from parley_server.chat.audience import audience_of
from parley_server.chat.fanout import Fanout
from parley_server.chat.framing import event_field
from parley_server.ports.positions import NOTHING_READ
from parley_server.testing.planting import plant

DELIVER_SECONDS = 0.1
REPEAT_SECONDS = 0.02
_announce = MemoryFeed.announce
_running: set[asyncio.Task[None]] = set()


async def _announce_somewhere(self: Any, user_id: str, channel_id: str, **raised: int) -> int:
    position = await _announce(self, user_id, channel_id, **raised)
    newest: int = (await self.cursor(user_id)).position
    return newest if position is None else position


async def _publish_slowly(self: Any, channel_id: str, members: Any, events: Any, encoded: Any) -> None:
    audience = audience_of(members, events)
    users = {*members, *audience.passing}
    head_seq = events[-1].seq
    positions = {each: await self._feed.announce(each, channel_id, head_seq=head_seq) for each in users}
    await asyncio.sleep(DELIVER_SECONDS)
    fields = [event_field(event) for event in encoded]
    self._hub.deliver(channel_id, events[0].seq, fields, audience, positions)


async def _repeat(self: Any, channel_id: str, members: Any) -> None:
    await asyncio.sleep(REPEAT_SECONDS)
    field = frames.read_position(channel_id, NOTHING_READ)
    for user_id in members:
        position = await self._feed.announce(user_id, channel_id, read_seq=NOTHING_READ.seq)
        self._hub.control(user_id, field, position)


async def _publish_and_repeat(self: Any, channel_id: str, members: Any, events: Any, encoded: Any) -> None:
    kept = frozenset(members)
    await _publish_slowly(self, channel_id, kept, events, encoded)
    task = asyncio.create_task(_repeat(self, channel_id, kept))
    _running.add(task)
    task.add_done_callback(_running.discard)


plant(MemoryFeed, announce=_announce_somewhere)
plant(Fanout, publish=_publish_and_repeat)
