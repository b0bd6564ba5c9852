"""What can be wrong with a history."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """Names of findings, each a broken promise."""

    LOST = "an acknowledged message is not in the log"
    DUPLICATED = "one client_message_id of one sender is in the log more than once"
    REORDERED = "a message lies before one that was acknowledged before it was first sent"
    CHANGED = "an event has two contents, or not the one that was sent"
    HOLE = "a log is not dense from 1 to its head"
    PHANTOM = "a message is in the log that nobody sent there"
    MOVED = "an acknowledged place is not the message's place"
    MISCOUNTED = "a number of messages is wrong"
    TIME_WENT_BACK = "an event is older than the one before it"
    REFUSED_BUT_WRITTEN = "a message is in the log though every attempt was refused"
    MISLABELLED = "`duplicate` is wrong"
    VANISHED = "a reader was shown something that is not in the log"
    STREAM_HOLE = "a stream passed over an event, or ended its life without the newest"
    STREAM_OUT_OF_ORDER = "a stream repeated an event or went back"
    STALE = "a read did not show what was acknowledged or shown before it"
    BEHIND = "the inbox, read at rest, does not agree with the log"
    MARK_LOST = "an acknowledged read position went back"
    MARK_PHANTOM = "a read position is beyond all that were asked for"
    MISSED = "a device was given a later event of its user's memberships and not the one before"
    NOT_CAUGHT_UP = "a stream was called caught up while something known before it began was missing"
    CURSOR_AHEAD = "a device was given a cursor before what it stands for"
    CURSOR_WENT_BACK = "a stream gave a cursor older than one before"
    EPOCH_KEPT = "a cursor of a feed that was lost was taken for good"
    STRANGER_SERVED = "a device was given an event from outside its user's memberships"
    ENDED_EARLY = "a device that stayed to the end does not have everything"
    MARK_NOT_TOLD = "a device that stayed to the end does not know its user's read position"
    UNANSWERED = "a message was not answered however often it was sent"


DEVICE_KINDS = frozenset(
    {
        Kind.MISSED,
        Kind.NOT_CAUGHT_UP,
        Kind.CURSOR_AHEAD,
        Kind.CURSOR_WENT_BACK,
        Kind.EPOCH_KEPT,
        Kind.STRANGER_SERVED,
        Kind.ENDED_EARLY,
        Kind.MARK_NOT_TOLD,
    }
)
"""Those that only devices meet."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that cannot be. `channel_id` is empty when it is not about one channel."""

    kind: Kind
    channel_id: str
    what: str

    def __str__(self) -> str:
        where = f" [{self.channel_id}]" if self.channel_id else ""
        return f"{self.kind.name}{where}: {self.what}"
