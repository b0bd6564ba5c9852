"""Who makes a call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated device of a user. `expire_time_ms` is when the token that proved it runs out."""

    user_id: str
    device_id: str
    operator: bool
    expire_time_ms: int
