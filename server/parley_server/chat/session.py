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
    from collections.abc import Collection, Iterable, Mapping

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

    LAGGING: the outbox was full and its events were dropped. MISSING: an event or a feed position is missing.
    Both mean: begin to catch up. PASSED: nothing to send.
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


class Session:
    """Per channel strictly the next seq: equal is delivered, smaller was had, greater is missing something.

    A channel is kept when its user leaves: should he join again, the log says which seqs lie between and are
    not his.

    Nothing is ever skipped: whatever cannot be passed on now marks its channel as behind, and catching up
    reads from the log what lies between. `position` is the feed position up to which the outbox holds
    everything; it moves only without holes.
    """

    __slots__ = (
        "_ahead",
        "_behind",
        "_limits",
        "_next_seq",
        "lag",
        "outbox",
        "phase",
        "position",
        "sent_position",
    )

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._next_seq: dict[str, int] = {}
        self._behind: dict[str, int] = {}
        self._ahead: set[int] = set()
        self.outbox = Outbox(limits)
        self.phase = Phase.AWAITING_HELLO
        self.position = 0
        self.sent_position = 0
        self.lag: Lag | None = None

    # Joining and catching up

    def hello(self) -> None:
        """The client has introduced itself: from now on what comes is noted."""
        self.phase = Phase.JOINING

    def join(self, position: int, heads: Iterable[tuple[str, int]], since: Mapping[str, int]) -> None:
        """The device is at the feed position and has the channels up to `heads`, but those in `since` only up
        to there. The session catches up with what was announced since, and with what was noted meanwhile.
        """
        for channel_id, head_seq in heads:
            self._next_seq[sys.intern(channel_id)] = head_seq + 1
        for channel_id, seq in since.items():
            self._next_seq[sys.intern(channel_id)] = seq + 1
            self._behind.setdefault(channel_id, seq + 1)
        self.position = self.sent_position = position
        self.phase = Phase.CATCHING_UP

    def take_behind(self) -> tuple[str, ...]:
        """The channels to read from the log now; those noted from here on are for the next round."""
        taken, self._behind = tuple(self._behind), {}
        return taken

    def next_seq_of(self, channel_id: str) -> int | None:
        """The next seq that the device needs, or None for a channel that it has not met."""
        return self._next_seq.get(channel_id)

    def meet(self, channel_id: str, next_seq: int) -> None:
        """The device's stream of a channel begins at this seq."""
        self._next_seq[sys.intern(channel_id)] = next_seq

    def put_from_log(self, channel_id: str, seq: int, field: bytes) -> bool:
        """While catching up, queue the next event as it was read. False: no room; try again when some was
        sent.

        Events that the device has are passed over; seqs that its user may not see are skipped.
        """
        if seq < self._next_seq.get(channel_id, seq):
            return True
        if not self.outbox.add_event(field, channel_id, seq):
            return False
        self._next_seq[channel_id] = seq + 1
        return True

    def skip_to(self, channel_id: str, next_seq: int) -> None:
        """Everything below `next_seq` that the user may see has been queued."""
        if next_seq > self._next_seq.get(channel_id, 0):
            self._next_seq[channel_id] = next_seq

    def caught_up(self, position: int) -> bool:
        """Everything up to the feed position was queued. True: nothing new was noted, and the session is
        live.
        """
        self._reach(position)
        if self._behind:
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
            self._note(channel_id, first_seq)
            return Verdict.PASSED
        expected = self._next_seq.get(channel_id)
        last = first_seq + len(fields) - 1
        if expected is None:
            # Not met yet: the log tells where the membership begins; what comes first need not be it.
            return self._miss(channel_id, first_seq)
        if first_seq > expected:
            return self._miss(channel_id, expected)
        if last < expected:
            return self._advance(position, Verdict.PASSED)
        for seq, field in enumerate(fields, start=first_seq):
            if seq < expected:
                continue
            if not self.outbox.add_event(field, channel_id, seq):
                self._next_seq[channel_id] = seq
                self._fall_behind(channel_id, seq)
                return Verdict.LAGGING
        self._next_seq[channel_id] = last + 1
        return self._advance(position, Verdict.TAKEN)

    def put(self, field: bytes, position: int | None = None) -> Verdict:
        """Queue a reply, or a control that was announced at a feed position."""
        self.outbox.add(field)
        if position is None:
            return Verdict.TAKEN
        if self.phase is not Phase.LIVE:
            return Verdict.TAKEN
        return self._advance(position, Verdict.TAKEN)

    def lag_now(self) -> None:
        """Give up what waits: the process is short of memory, and this session holds the most."""
        if self.phase is Phase.LIVE:
            self._fall_behind("", 0)

    def next_frame(self) -> Frame:
        """Take the next frame out of the outbox, which must not be empty."""
        frame = self.outbox.next_frame()
        if frame.position is not None:
            self.sent_position = frame.position
        return frame

    @property
    def waits_for_positions(self) -> bool:
        """Whether later feed positions came before an earlier one."""
        return bool(self._ahead)

    def suspect(self) -> None:
        """Something announced has not come in time: catch up from the feed."""
        if self.phase is Phase.LIVE:
            self.phase = Phase.CATCHING_UP

    def end(self) -> None:
        """Nothing more goes out; what waits is forgotten."""
        self.phase = Phase.ENDED
        self._next_seq.clear()
        self._behind.clear()
        self._ahead.clear()
        self.outbox.clear()

    def _note(self, channel_id: str, seq: int) -> None:
        if self.phase in (Phase.JOINING, Phase.CATCHING_UP):
            self._behind.setdefault(channel_id, seq)

    def _miss(self, channel_id: str, seq: int) -> Verdict:
        self.phase = Phase.CATCHING_UP
        self._behind[channel_id] = seq
        return Verdict.MISSING

    def _fall_behind(self, channel_id: str, seq: int) -> None:
        dropped = self.outbox.drop_events()
        for dropped_id, lowest_seq in dropped.lowest_seqs.items():
            self._next_seq[dropped_id] = lowest_seq
            self._behind[dropped_id] = lowest_seq
        if channel_id:
            self._behind.setdefault(channel_id, seq)
        self._ahead.clear()
        self.position = self.sent_position
        self.phase = Phase.CATCHING_UP
        self.lag = Lag(tuple(self._behind), dropped.events)

    def _advance(self, position: int | None, verdict: Verdict) -> Verdict:
        if position is None or position <= self.position:
            return verdict
        if position > self.position + 1:
            self._ahead.add(position)
            if len(self._ahead) > POSITIONS_AHEAD_LIMIT:
                self.phase = Phase.CATCHING_UP
                return Verdict.MISSING
            return verdict
        reached = position
        while reached + 1 in self._ahead:
            reached += 1
            self._ahead.discard(reached)
        self._reach(reached)
        return verdict

    def _reach(self, position: int) -> None:
        if position <= self.position:
            return
        self.position = position
        self._ahead = {ahead for ahead in self._ahead if ahead > position} if self._ahead else self._ahead
        if not self.outbox.reach(position):
            self.sent_position = position
