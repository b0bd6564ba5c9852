"""Not a bug, but a harder world: every frame takes a moment to write, as to a reader who is slow, and an
outbox holds four events, so that all streams lag again and again. A correct node's devices end with
everything.
"""

from __future__ import annotations

import asyncio
from typing import Any

from parley_server.api import downstream
from parley_server.chat.outbox import OutboxLimits
from parley_server.testing.planting import plant

FRAME_SECONDS = 0.4
OUTBOX_EVENTS = 4
_write = downstream.Downstream._write


def _write_slowly(self: Any, frame: Any) -> None:
    _write(self, frame)
    if self._writable:
        self._writable = False
        asyncio.get_running_loop().call_later(FRAME_SECONDS, self.taken)


def _narrow(_events: int, waiting_bytes: int, frame_bytes: int) -> OutboxLimits:
    return OutboxLimits(OUTBOX_EVENTS, waiting_bytes, frame_bytes)


plant(downstream, OutboxLimits=_narrow)
plant(downstream.Downstream, _write=_write_slowly)
