"""Planted bug: who was ever a member goes on getting the channel's events."""

from __future__ import annotations

from typing import Any

from parley_server.chat.fanout import Fanout
from parley_server.testing.planting import plant

_publish = Fanout.publish
_ever: dict[str, set[str]] = {}


async def _publish_to_all(self: Any, channel_id: str, members_after: Any, events: Any, encoded: Any) -> None:
    ever = _ever.setdefault(channel_id, set())
    ever.update(members_after)
    await _publish(self, channel_id, frozenset(ever), events, encoded)


plant(Fanout, publish=_publish_to_all)
