"""Planted bug: what comes while a session catches up is taken for sent, and not read from the log."""

from __future__ import annotations

from typing import Any

from parley_server.chat.session import Phase, Session, Verdict
from parley_server.testing.planting import plant

_deliver = Session.deliver


def _deliver_and_forget(
    self: Any, channel_id: str, first_seq: int, fields: Any, position: int | None
) -> Verdict:
    if self.phase is Phase.CATCHING_UP:
        self._next_seq[channel_id] = max(first_seq + len(fields), self._next_seq.get(channel_id, 0))
        return Verdict.PASSED
    return _deliver(self, channel_id, first_seq, fields, position)


plant(Session, deliver=_deliver_and_forget)
