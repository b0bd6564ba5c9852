"""Planted bug: the owner answers as soon as it has decided, and commits behind the senders' backs.

The commit is held up a little, as a busy disk would: without that it nearly always wins the race with the
answer's way to the client.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from parley_server.chat import owner
from parley_server.chat.batch import decide_batch
from parley_server.chat.command import PostMessage
from parley_server.testing.planting import plant

if TYPE_CHECKING:
    from parley_server.chat.batch import Batch
    from parley_server.chat.command import Command, Outcome

COMMIT_DELAY_SECONDS = 0.02
_running: set[asyncio.Task[None]] = set()


async def _commit_later(self: Any, state: Any, batch: Batch, before: asyncio.Task[None] | None) -> None:
    if before is not None:
        await before
    await asyncio.sleep(COMMIT_DELAY_SECONDS)
    if await self._commit(batch, []):
        await self._fan_out(state, batch)


async def _settle(self: Any, commands: list[Command]) -> list[Outcome]:
    before: asyncio.Task[None] | None = getattr(self, "_before", None)
    if not all(isinstance(command, PostMessage) for command in commands):
        if before is not None:
            await before
        return await _honest_settle(self, commands)
    state = self._state or await self._activate()
    older = await self._look_up(state, commands)
    batch = decide_batch(state, commands, self._ports.clock.now_ms(), older, self._limits.batch)
    if batch.rows:
        task = asyncio.create_task(_commit_later(self, state, batch, before))
        _running.add(task)
        task.add_done_callback(_running.discard)
        self._before = task
    return batch.outcomes


_honest_settle = owner.ChannelOwner._settle
plant(owner.ChannelOwner, _settle=_settle)
