"""Planted bug: events go to the streams before their commit, so readers see what a kill then takes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from parley_server.chat import owner
from parley_server.testing.planting import plant

if TYPE_CHECKING:
    from parley_server.chat.batch import Batch

COMMIT_DELAY_SECONDS = 0.05
_commit = owner.ChannelOwner._commit


async def _fan_out_and_commit(self: Any, batch: Batch, unsettled: list[Any]) -> bool:
    await self._fan_out(self._state, batch)
    await asyncio.sleep(COMMIT_DELAY_SECONDS)
    return await _commit(self, batch, unsettled)


plant(owner.ChannelOwner, _commit=_fan_out_and_commit)
