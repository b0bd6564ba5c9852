"""One device's stream as a value machine: what of the channels' logs goes into its outbox, in which order.
Pure.
"""

from __future__ import annotations

import enum
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_server.chat.outbox import Frame, Outbox, OutboxLimits

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

POSITIONS_AHEAD_LIMIT = 1024


class Phase(enum.Enum):
    """Where a session is in its life.

    JOINING: the heads are being read; what comes is noted. CATCHING_UP: events are read from the log, because
    the reader was slow or something was missed; what comes is noted. LIVE: what comes is passed on.
    """

    AWAITING_HELLO = enum.auto()
    JOINING = enum.auto()
    CATCHING_UP = enum.auto()
    LIVE = enum.auto()
    ENDED = enum.auto()


class Verdict(enum.Enum):
    """What came of handing something to a session.

    LAGGING: the outbox was full and what it held was dropped. MISSING: an event or a feed position is
    missing. Both mean: begin to catch up. PASSED: nothing to send.
    """

    TAKEN = enum.auto()
    PASSED = enum.auto()
    LAGGING = enum.auto()
    MISSING = enum.auto()


@dataclass(frozen=True, slots=True)
class Lag:
    """What was dropped from the outbox when the reader fell behind."""

    channel_ids: tuple[str, ...]
    events: int


@dataclass(frozen=True, slots=True)
class Start:
    """Where a device's stream begins: at this feed position, and per channel with this seq.

    `behind` are the channels of which the log holds more than the device has. Of `unsure` ones nobody said
    how far the device is; they count as read up to `next_seqs` until something happens in them.
    """

    position: int
    next_seqs: Mapping[str, int]
    behind: Collection[str] = ()
    unsure: Collection[str] = ()


class Session:
    """Per channel strictly the next seq: equal is delivered, smaller was had, greater is missing something.

    Nothing is ever skipped: whatever cannot be passed on now marks its channel as behind, and catching up
    reads from the log what lies between. A channel is kept when its user leaves: should he join again, the
    log says which seqs lie between and are not his. `position` is the feed position up to which the outbox
    holds everything; it moves only without holes.
    """

    __slots__ = (
        "_ahead",
        "_announced",
        "_behind",
        "_limits",
        "_next_seq",
        "_unsure",
        "lag",
        "outbox",
        "phase",
        "position",
        "sent_position",
    )

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._next_seq: dict[str, int] = {}
        # None where there are none, as on nearly every stream that is idle.
        self._unsure: set[str] | None = None
        # In the order in which they fell behind.
        self._behind: dict[str, None] | None = None
        self._ahead: set[int] | None = None
        self._announced = 0
        self.outbox = Outbox(limits)
        self.phase = Phase.AWAITING_HELLO
        self.position = 0
        self.sent_position = 0
        self.lag: Lag | None = None

    # Joining and catching up

    def hello(self) -> None:
        """The client has introduced itself: from now on what comes is noted."""
        self.phase = Phase.JOINING

    def join(self, start: Start) -> None:
        """The session catches up with what was announced after `start`, and with what was noted meanwhile."""
        self._next_seq = {sys.intern(channel_id): seq for channel_id, seq in start.next_seqs.items()}
        self._unsure = {sys.intern(channel_id) for channel_id in start.unsure} or None
        for channel_id in start.behind:
            self._note_behind(channel_id)
        self.position = self.sent_position = start.position
        self.phase = Phase.CATCHING_UP

    def take_behind(self) -> tuple[str, ...]:
        """The channels to read from the log now; those noted from here on are for the next round."""
        behind, self._behind = self._behind, None
        return tuple(behind or ())

    def next_seq_of(self, channel_id: str) -> int | None:
        """The next seq that the device needs, or None for a channel of which that is not known."""
        if self._unsure and channel_id in self._unsure:
            return None
        return self._next_seq.get(channel_id)

    def met(self, channel_id: str) -> bool:
        """Whether the channel was the user's when the stream began, or came since."""
        return channel_id in self._next_seq

    def begin(self, channel_id: str, next_seq: int) -> None:
        """The device's stream of a channel begins at this seq."""
        self._next_seq[sys.intern(channel_id)] = next_seq
        if self._unsure:
            self._unsure.discard(channel_id)

    def put_from_log(self, channel_id: str, seq: int, field: bytes) -> bool:
        """While catching up, queue the next event as it was read. False: no room; try again when some was
        sent.

        Events that the device has are passed over; seqs that its user may not see are skipped.
        """
        if seq < self._next_seq[channel_id]:
            return True
        if not self.outbox.add_event(field, channel_id, seq):
            return False
        self._next_seq[channel_id] = seq + 1
        return True

    def caught_up(self, position: int) -> bool:
        """Everything up to the feed position was queued. True: nothing new was noted, and the session is
        live.
        """
        if position > self.position:
            self._reach(position)
        self._ahead = None
        if self._behind or self._announced > self.position:
            return False
        self.phase = Phase.LIVE
        return True

    # Live

    def deliver(
        self, channel_id: str, first_seq: int, fields: Collection[bytes], position: int | None
    ) -> Verdict:
        """Events of one channel came, dense from `first_seq`, announced at the feed position (None: at an
        earlier one).
        """
        if self.phase is not Phase.LIVE:
            if self.phase in (Phase.JOINING, Phase.CATCHING_UP):
                self._note_behind(channel_id)
            return Verdict.PASSED
        expected = self._next_seq.get(channel_id, 0)
        if first_seq > expected or (self._unsure and channel_id in self._unsure):
            self._note_behind(channel_id)
            self.phase = Phase.CATCHING_UP
            return Verdict.MISSING
        end = first_seq + len(fields)
        if end <= expected:
            return self._advance(position, Verdict.PASSED)
        outbox = self.outbox
        seq = first_seq
        for field in fields:
            if seq >= expected and not outbox.add_event(field, channel_id, seq):
                self._next_seq[channel_id] = seq
                self._note_behind(channel_id)
                return self._fall_behind()
            seq += 1
        self._next_seq[channel_id] = end
        return self._advance(position, Verdict.TAKEN)

    def pass_on(
        self, channel_id: str, first_seq: int, fields: Collection[bytes], position: int | None
    ) -> Frame | None:
        """As `deliver`, when nothing waits and everything fits: the frame to write now, past the outbox.
        None: nothing was taken, `deliver` must be asked.
        """
        if (
            self.phase is not Phase.LIVE
            or self.outbox
            or self._ahead
            or self._next_seq.get(channel_id) != first_seq
            or (self._unsure and channel_id in self._unsure)
            or (position is not None and position != self.position + 1)
        ):
            return None
        message = b"".join(fields)
        if len(message) > self._limits.frame_bytes:
            return None
        self._next_seq[channel_id] = first_seq + len(fields)
        if position is not None:
            self.position = self.sent_position = position
        return Frame(message, position)

    def put(self, field: bytes) -> None:
        """Queue a reply, or news about the stream."""
        self.outbox.add(field)

    def put_mark(self, field: bytes, position: int) -> Verdict:
        """A read position was announced at the feed position; `field` is the control that tells of it."""
        if self.phase is not Phase.LIVE:
            # It is in the feed, which is read after joining, and now once more.
            if self.phase is Phase.CATCHING_UP:
                self.announced(position)
            return Verdict.PASSED
        if not self.outbox.add_mark(field):
            return self._fall_behind()
        return self._advance(position, Verdict.TAKEN)

    def put_mark_from_feed(self, field: bytes) -> bool:
        """While catching up, queue a read position. False: no room; try again when some was sent."""
        return self.outbox.add_mark(field)

    def lag_now(self) -> bool:
        """Give up what waits: the process is short of memory, and this session holds the most. False: it is
        not live, and holds no more than a frame.
        """
        if self.phase is not Phase.LIVE:
            return False
        self._fall_behind()
        return True

    def next_frame(self) -> Frame:
        """Take the next frame out of the outbox, which must not be empty."""
        frame = self.outbox.next_frame()
        if frame.position is not None:
            self.sent_position = frame.position
        return frame

    def announced(self, position: int) -> None:
        """The user's feed has reached this position. If what was announced there does not come, it is
        missing.
        """
        if position > self._announced:
            self._announced = position

    @property
    def waits_for_positions(self) -> bool:
        """Whether something was announced that has not come, as far as the session knows."""
        return self.phase is Phase.LIVE and (bool(self._ahead) or self._announced > self.position)

    def suspect(self) -> bool:
        """Something announced has not come in time. True: catch up from the feed. False: the session does, or
        has not joined.
        """
        if self.phase is not Phase.LIVE:
            return False
        self.phase = Phase.CATCHING_UP
        return True

    def end(self) -> None:
        """Nothing more goes out; what waits is forgotten."""
        self.phase = Phase.ENDED
        self._next_seq.clear()
        self._unsure = self._ahead = self._behind = None
        self.outbox.clear()

    def _note_behind(self, channel_id: str) -> None:
        if self._behind is None:
            self._behind = {}
        self._behind[channel_id] = None

    def _fall_behind(self) -> Verdict:
        dropped = self.outbox.drop_events()
        for channel_id, lowest_seq in dropped.lowest_seqs.items():
            self._next_seq[channel_id] = lowest_seq
            self._note_behind(channel_id)
        # Positions from before the drop say nothing any more.
        self._ahead = None
        self.position = self.sent_position
        self.phase = Phase.CATCHING_UP
        self.lag = Lag(tuple(self._behind or ()), dropped.events)
        return Verdict.LAGGING

    def _advance(self, position: int | None, verdict: Verdict) -> Verdict:
        if position is None or position <= self.position:
            return verdict
        if position > self.position + 1:
            ahead = self._ahead
            if ahead is None:
                ahead = self._ahead = set()
            ahead.add(position)
            if len(ahead) > POSITIONS_AHEAD_LIMIT:
                self.phase = Phase.CATCHING_UP
                return Verdict.MISSING
            return verdict
        if self._ahead is not None:
            while position + 1 in self._ahead:
                position += 1
                self._ahead.discard(position)
            if not self._ahead:
                self._ahead = None
        self._reach(position)
        return verdict

    def _reach(self, position: int) -> None:
        self.position = position
        if not self.outbox.reach(position):
            self.sent_position = position
