"""Planted bug: what does not fit into a slow reader's outbox is dropped, and that is all."""

from __future__ import annotations

from typing import Any

from parley_server.chat.session import Session


def _drop(self: Any, channel_id: str, seq: int) -> None:
    self.outbox.drop_events()
    if channel_id:
        self._next_seq[channel_id] = seq + 1


_planted: Any = Session
_planted._fall_behind = _drop
