"""What waits to be written to one device's stream: bounded, in order. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may wait for a device, and where a frame ends. One field of any size always fits alone."""

    events: int = 256
    waiting_bytes: int = 256 * 1024
    frame_bytes: int = 64 * 1024


class Frame(NamedTuple):
    """One message for the stream; `position` is the feed position that holds once it is read, None if
    unchanged.
    """

    message: bytes
    position: int | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """Events that were taken back out of the queue: how many, and per channel the lowest seq among them."""

    events: int
    lowest_seqs: dict[str, int]


@dataclass(slots=True)
class _Waiting:
    field: bytes
    channel_id: str
    seq: int
    can_drop: bool
    position: int | None = None


class Outbox:
    """A queue of encoded fields that leaves as joined frames.

    Events and read positions are bounded, since they can be read again: `add_event` and `add_mark` answer
    False, and keep nothing, when the bound would be passed, though an outbox without them takes one of any
    size. Replies and news about the stream are bounded by what causes them and are always taken.
    """

    __slots__ = ("_droppable", "_limits", "_waiting", "waiting_bytes")

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        # None when nothing waits, as on nearly every stream at nearly every moment: a deque takes 600 bytes.
        self._waiting: list[_Waiting] | None = None
        self._droppable = 0
        self.waiting_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting) if self._waiting else 0

    @property
    def has_room(self) -> bool:
        """Whether less than one frame waits, and an event would be taken."""
        return self.waiting_bytes < self._limits.frame_bytes and self._droppable < self._limits.events

    @property
    def undroppable(self) -> int:
        """How many replies and news about the stream wait."""
        return len(self) - self._droppable

    def add_event(self, field: bytes, channel_id: str, seq: int) -> bool:
        """Queue one event. False: the bound is reached and it was not taken."""
        return self._add_bounded(field, channel_id, seq)

    def add_mark(self, field: bytes) -> bool:
        """Queue one read position. False: the bound is reached and it was not taken."""
        return self._add_bounded(field, "", 0)

    def add(self, field: bytes) -> None:
        """Queue a reply, or news about the stream."""
        self._append(_Waiting(field, "", 0, False))
        self.waiting_bytes += len(field)

    def reach(self, position: int) -> bool:
        """What is queued so far brings the device to `position`. False: nothing waits, so it is there
        already.
        """
        if not self._waiting:
            return False
        self._waiting[-1].position = position
        return True

    def next_frame(self) -> Frame:
        """Take the next frame out: as many fields as fit, at least one. The outbox must not be empty."""
        waiting = self._waiting
        assert waiting
        taken: list[bytes] = []
        size, position = 0, None
        for following in waiting:
            if taken and size + len(following.field) > self._limits.frame_bytes:
                break
            taken.append(following.field)
            size += len(following.field)
            self._droppable -= following.can_drop
            if following.position is not None:
                position = following.position
        if len(taken) == len(waiting):
            self._waiting = None
        else:
            del waiting[: len(taken)]
        self.waiting_bytes -= size
        return Frame(taken[0] if len(taken) == 1 else b"".join(taken), position)

    def drop_events(self) -> Dropped:
        """Take all events and read positions back out, and with them the feed positions that they would have
        brought.
        """
        events = 0
        lowest: dict[str, int] = {}
        kept: list[_Waiting] = []
        for waiting in self._waiting or ():
            if waiting.channel_id:
                events += 1
                lowest.setdefault(waiting.channel_id, waiting.seq)
            elif not waiting.can_drop:
                # A position says that everything before it was sent, and some of that is being dropped.
                waiting.position = None
                kept.append(waiting)
        self._waiting, self._droppable = kept or None, 0
        self.waiting_bytes = sum(len(waiting.field) for waiting in kept)
        return Dropped(events, lowest)

    def clear(self) -> None:
        """Forget everything that waits."""
        self._waiting = None
        self._droppable = 0
        self.waiting_bytes = 0

    def _append(self, waiting: _Waiting) -> None:
        if self._waiting is None:
            self._waiting = [waiting]
        else:
            self._waiting.append(waiting)

    def _add_bounded(self, field: bytes, channel_id: str, seq: int) -> bool:
        waiting_bytes = self.waiting_bytes + len(field)
        if self._droppable and (
            self._droppable >= self._limits.events or waiting_bytes > self._limits.waiting_bytes
        ):
            return False
        self._append(_Waiting(field, channel_id, seq, True))
        self._droppable += 1
        self.waiting_bytes = waiting_bytes
        return True
