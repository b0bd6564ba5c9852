"""Planted bug: a stream that is to replay what was missed begins at the heads, as if nothing had been."""

from __future__ import annotations

from typing import Any

from parley_server.chat import joining
from parley_server.chat.resume import Replayed, decide_resume
from parley_server.testing.planting import plant


def _decide_at_heads(position: int, changed: Any, heads: Any, *rest: Any, **limits: Any) -> Any:
    resume = decide_resume(position, changed, heads, *rest, **limits)
    if isinstance(resume, Replayed):
        return Replayed(position, {channel_id: heads.get(channel_id, 0) for channel_id in resume.since})
    return resume


plant(joining, decide_resume=_decide_at_heads)
