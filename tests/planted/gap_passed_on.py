"""Planted bug: a session takes whatever comes next. To be given before `lossy_delivery`, which makes gaps."""

from __future__ import annotations

from typing import Any

from parley_server.chat.session import Phase, Session, Verdict
from parley_server.testing.planting import plant

_deliver = Session.deliver


def _deliver_anything(
    self: Any, channel_id: str, first_seq: int, fields: Any, position: int | None
) -> Verdict:
    expected = self._next_seq.get(channel_id)
    if self.phase is Phase.LIVE and expected is not None and expected < first_seq:
        self._next_seq[channel_id] = first_seq
    return _deliver(self, channel_id, first_seq, fields, position)


plant(Session, deliver=_deliver_anything)
