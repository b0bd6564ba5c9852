"""Planted bug: a stream listens only after it was told what it missed, and goes on from what is newest then.
What was committed in between is spliced by nobody.
"""

from __future__ import annotations

import asyncio
from typing import Any

from parley_server.api.connect import ChatStream
from parley_server.chat.hub import Hub

BETWEEN_SECONDS = 0.05
_catch_up = ChatStream._catch_up_now
_listen = Hub.add


async def _catch_up_then_listen(self: Any, caller: Any) -> None:
    await _catch_up(self, caller)
    services, session = self._services, self._session
    if services.hub.find(self.session_id) is None:
        await asyncio.sleep(BETWEEN_SECONDS)
        _listen(services.hub, self)
        now = await services.joins.read(caller.user_id, caller.device_id, "", {})
        session._next_seq.update((head.channel_id, head.head_seq + 1) for head in now.heads)
        session._reach(now.cursor.position)


_planted: Any = ChatStream
_planted._catch_up_now = _catch_up_then_listen
_planted = Hub
_planted.add = lambda _self, _listener: None
