"""Planted bug: history is read to the log's end, beyond what inboxes and memberships know of."""

from __future__ import annotations

from typing import Any

from parley_server.chat.history import History
from parley_server.testing.planting import plant

_member = History._member


async def _member_and_end(self: Any, user_id: str, channel_id: str) -> tuple[Any, int]:
    member, _ = await _member(self, user_id, channel_id)
    return member, await self._log.head(channel_id)


plant(History, _member=_member_and_end)
