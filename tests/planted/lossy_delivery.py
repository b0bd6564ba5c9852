"""Not a bug, but a harder world: one in twenty batches is lost on its way to an open session, as it can be
between nodes. Whoever misses it must notice.
"""

from __future__ import annotations

import random
from typing import Any

from parley_server.chat.session import Phase, Session, Verdict
from parley_server.testing.planting import plant

LOST_ONE_IN = 20
_deliver = Session.deliver


def _deliver_most(self: Any, channel_id: str, first_seq: int, fields: Any, position: int | None) -> Verdict:
    if self.phase is Phase.LIVE and random.randrange(LOST_ONE_IN) == 0:
        return Verdict.PASSED
    return _deliver(self, channel_id, first_seq, fields, position)


plant(Session, deliver=_deliver_most)
# The short way past the outbox loses as much: it is not taken.
plant(Session, pass_on=lambda *_arguments: None)
