"""The connection to the server, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Connection:
    """How the client stands with its server. `phase` is a word of the SDK's `Phase`.

    `retry_in_seconds` is None unless it waits before the next try. `trouble` is why it broke last.
    """

    phase: str = "connecting"
    channels_behind: int = 0
    waiting_events: int = 0
    waiting_messages: int = 0
    retry_in_seconds: float | None = None
    trouble: str = ""


LAGGING_EVENTS = 200
"""So many events that wait to be shown are told as a delay."""


def connection_text(connection: Connection) -> str:
    """The state in a few words: it says everything without colour."""
    waiting = f" · {connection.waiting_messages} unsent" if connection.waiting_messages else ""
    behind = connection.channels_behind
    match connection.phase:
        case "live" if connection.waiting_events > LAGGING_EVENTS:
            return f"lagging: {connection.waiting_events} events behind{waiting}"
        case "live":
            return f"connected{waiting}"
        case "catching up":
            detail = f": {behind} conversation{'s' if behind != 1 else ''} behind" if behind else ""
            return f"catching up{detail}{waiting}"
        case "waiting":
            seconds = max(math.ceil(connection.retry_in_seconds or 0), 0)
            when = f"in {seconds} s" if seconds else "now"
            return f"NO CONNECTION, next try {when}{waiting}"
        case "ended":
            return f"ENDED{': ' + connection.trouble if connection.trouble else ''}"
        case _:
            again = " again" if connection.trouble else ""
            return f"connecting{again} …{waiting}"
