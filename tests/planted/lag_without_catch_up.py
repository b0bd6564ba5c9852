"""Planted bug: what does not fit into a slow reader's outbox is dropped, and that is all."""

from __future__ import annotations

from typing import Any

from parley_server.chat.session import Session, Verdict
from parley_server.testing.planting import plant


def _drop(self: Any) -> Verdict:
    self.outbox.drop_events()
    for channel_id in self.take_behind():
        self._next_seq[channel_id] += 1
    return Verdict.PASSED


plant(Session, _fall_behind=_drop)
