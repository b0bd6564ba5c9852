"""Planted bug: a joining stream takes each channel's head to be one event further than it is."""

from __future__ import annotations

from typing import Any

from parley_server.chat import heads
from parley_server.testing.planting import plant

_head = heads.Head


def _one_further(channel_id: str, head_seq: int, *rest: Any) -> heads.Head:
    return _head(channel_id, head_seq + 1, *rest)


plant(heads, Head=_one_further)
