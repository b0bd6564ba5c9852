"""What a client is doing, for people and monitors."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parley._errors import ParleyError


class Phase(enum.Enum):
    """Where the stream of events stands."""

    IDLE = "idle"
    """Nobody asked for events."""
    CONNECTING = "connecting"
    """A stream is being opened."""
    CATCHING_UP = "catching up"
    """The stream is open, and what was missed is still coming or being fetched."""
    LIVE = "live"
    """What happens is delivered as it happens."""
    WAITING = "waiting"
    """The stream broke; `retry_in_seconds` says when the next one is opened."""
    ENDED = "ended"
    """No stream will be opened any more: the client or the stream was closed, or it failed for good."""


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """A client at one moment.

    `server` is the address in use. `channels_behind` counts channels whose missed events are being fetched,
    `waiting_events` those that the program has not asked for yet, `waiting_messages` those in the outbox.
    `last_error` is why the stream broke last; None again once one is live. `retry_in_seconds` is None unless
    the phase is WAITING.
    """

    phase: Phase
    server: str
    channels_behind: int
    waiting_events: int
    waiting_messages: int
    last_error: ParleyError | None
    retry_in_seconds: float | None
