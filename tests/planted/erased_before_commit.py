"""Planted bug: a message's text is taken out of the log before its deletion is committed.

The commit is held up a little, as a busy disk would: who reads meanwhile gets a message without its text,
and a kill would leave it so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from parley_server.chat import owner
from parley_server.chat.event import MessageDeleted
from parley_server.testing.planting import plant

if TYPE_CHECKING:
    from parley_server.chat.batch import Batch

COMMIT_DELAY_SECONDS = 0.3
_commit = owner.ChannelOwner._commit


async def _erase_and_commit(self: Any, batch: Batch, unsettled: list[Any]) -> bool:
    if any(isinstance(event.body, MessageDeleted) for event in batch.events):
        await self._ports.eraser.erase_now(self.channel_id, batch.events)
        await asyncio.sleep(COMMIT_DELAY_SECONDS)
    return await _commit(self, batch, unsettled)


plant(owner.ChannelOwner, _commit=_erase_and_commit)
