"""What waits to be written to one device's stream: bounded, in order. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may wait for a device, and where a frame ends. One field of any size always fits alone."""

    events: int = 256
    waiting_bytes: int = 256 * 1024
    frame_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class Frame:
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
    position: int | None


class Outbox:
    """A queue of encoded fields that leaves as joined frames.

    Events are bounded: `add_event` answers False, and keeps nothing, when the bound would be passed, though
    an empty outbox takes one event of any size. Replies and controls are bounded by what causes them
    (requests in flight, one control of a kind) and are always taken.
    """

    __slots__ = ("_events", "_limits", "_waiting", "waiting_bytes")

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._waiting: deque[_Waiting] = deque()
        self._events = 0
        self.waiting_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether less than one frame waits, and an event would be taken."""
        return self.waiting_bytes < self._limits.frame_bytes and self._events < self._limits.events

    def takes(self, size_bytes: int) -> bool:
        """Whether `add_event` would take an event of this size."""
        return not self._waiting or (
            self._events < self._limits.events
            and self.waiting_bytes + size_bytes <= self._limits.waiting_bytes
        )

    def add_event(self, field: bytes, channel_id: str, seq: int) -> bool:
        """Queue one event. False: the bound is reached and it was not taken."""
        size = len(field)
        if not self.takes(size):
            return False
        self._waiting.append(_Waiting(field, channel_id, seq, None))
        self._events += 1
        self.waiting_bytes += size
        return True

    def add(self, field: bytes) -> None:
        """Queue a reply or a control."""
        self._waiting.append(_Waiting(field, "", 0, None))
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
        taken: list[bytes] = []
        size, position = 0, None
        while self._waiting:
            following = self._waiting[0]
            if taken and size + len(following.field) > self._limits.frame_bytes:
                break
            self._waiting.popleft()
            taken.append(following.field)
            size += len(following.field)
            self._events -= bool(following.channel_id)
            if following.position is not None:
                position = following.position
        self.waiting_bytes -= size
        return Frame(taken[0] if len(taken) == 1 else b"".join(taken), position)

    def drop_events(self) -> Dropped:
        """Take all events back out, and with them the positions that they would have brought."""
        lowest: dict[str, int] = {}
        kept: deque[_Waiting] = deque()
        for waiting in self._waiting:
            if waiting.channel_id:
                lowest.setdefault(waiting.channel_id, waiting.seq)
            else:
                # A position says that everything before it was sent, and some of that is being dropped.
                waiting.position = None
                kept.append(waiting)
        dropped = Dropped(self._events, lowest)
        self._waiting, self._events = kept, 0
        self.waiting_bytes = sum(len(waiting.field) for waiting in kept)
        return dropped

    def clear(self) -> None:
        """Forget everything that waits."""
        self._waiting.clear()
        self._events = 0
        self.waiting_bytes = 0
