"""Planted bug: a joining stream takes each channel's head to be one event further than it is."""

from __future__ import annotations

from typing import Any

from parley_server.chat import joining

_head = joining.Head


def _one_further(channel_id: str, head_seq: int, *rest: Any) -> joining.Head:
    return _head(channel_id, head_seq + 1, *rest)


_planted: Any = joining
_planted.Head = _one_further
