"""Planted bug: the owner answers when a batch is in the log, and inboxes and streams follow later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from parley_server.chat import owner
from parley_server.chat.batch import decide_batch
from parley_server.chat.command import PostMessage
from parley_server.ports.message_log import Committed, StoreUnavailable
from parley_server.testing.planting import plant

if TYPE_CHECKING:
    from parley_server.chat.batch import Batch
    from parley_server.chat.command import Command, Outcome

LATER_SECONDS = 0.05
_running: set[asyncio.Task[None]] = set()


async def _project_later(self: Any, state: Any, batch: Batch, before: asyncio.Task[None] | None) -> None:
    await asyncio.sleep(LATER_SECONDS)
    if before is not None:
        await before
    await self._ports.projections.apply(self.channel_id, batch.events)
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
        ports = self._ports
        result = await ports.log.append(
            self.channel_id, batch.expected_head, batch.rows, ports.new_batch_id()
        )
        if not isinstance(result, Committed):
            self._state = None
            raise StoreUnavailable("somebody else wrote")
        task = asyncio.create_task(_project_later(self, state, batch, before))
        _running.add(task)
        task.add_done_callback(_running.discard)
        self._before = task
    return batch.outcomes


_honest_settle = owner.ChannelOwner._settle
plant(owner.ChannelOwner, _settle=_settle)
