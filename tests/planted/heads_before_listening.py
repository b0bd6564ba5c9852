"""Planted bug: a stream listens only after it was told what it missed, and goes on from what is newest then.
What was committed in between is spliced by nobody.
"""

from __future__ import annotations

import asyncio
from typing import Any

from parley_server.api.downstream import Downstream
from parley_server.chat.hub import Hub
from parley_server.testing.planting import plant

BETWEEN_SECONDS = 0.05
_join = Downstream._join
_listen = Hub.add
_deaf: dict[str, Any] = {}


async def _join_then_listen(self: Any, route: Any, *rest: Any) -> None:
    await _join(self, route, *rest)
    await asyncio.sleep(BETWEEN_SECONDS)
    services, session = self._services, self.session
    _listen(services.hub, _deaf.pop(route.session_id))
    now = await services.joins.read(self._user_id, route.device_id, "", {})
    session._next_seq.update(now.start.next_seqs)
    session._reach(now.cursor.position)


def _stay_deaf(_self: Any, listener: Any) -> None:
    _deaf[listener.session_id] = listener


plant(Downstream, _join=_join_then_listen)
plant(Hub, add=_stay_deaf)
