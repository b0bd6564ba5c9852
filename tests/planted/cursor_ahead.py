"""Planted bug: a stream that catches up is at the feed's newest position before the events were queued."""

from __future__ import annotations

from typing import Any

from parley_server.chat.catch_up import CatchUp

_run = CatchUp.run


async def _reach_and_run(self: Any, session: Any, user_id: str, epoch: str, room: Any) -> None:
    session._reach((await self._feed.cursor(user_id)).position)
    await _run(self, session, user_id, epoch, room)


_planted: Any = CatchUp
_planted.run = _reach_and_run
