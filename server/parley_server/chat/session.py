"""One device's stream as a value machine: what of the channels' logs goes into its outbox, in which order.
Pure.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from parley_server.chat.outbox import Outbox, OutboxLimits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class Phase(enum.Enum):
    """Where a session is in its life."""

    AWAITING_HELLO = enum.auto()
    JOINING = enum.auto()
    LIVE = enum.auto()
    ENDED = enum.auto()


class Verdict(enum.Enum):
    """What came of handing something to a session."""

    TAKEN = enum.auto()
    TOO_SLOW = enum.auto()
    GAP = enum.auto()


class Session:
    """Per channel strictly the next seq: equal is delivered, smaller was had, greater is a gap and never
    passed on.

    While the heads are being read (JOINING) everything that comes is kept aside, and `join` splices it in
    by seq: nothing between reading and listening is missed. A channel that the session has not met starts
    with the first event that comes: the one that made the user a member.
    """

    __slots__ = ("_aside", "_limits", "_next_seq", "outbox", "phase")

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._next_seq: dict[str, int] = {}
        self._aside: list[tuple[str, int, bytes | None]] = []
        self.outbox = Outbox(limits)
        self.phase = Phase.AWAITING_HELLO

    def hello(self) -> None:
        """The client has introduced itself: from now on events are kept aside."""
        self.phase = Phase.JOINING

    def join(self, heads: Iterable[tuple[str, int]]) -> Verdict:
        """The client knows these (channel, head) pairs; the session is live, and what was kept aside follows
        them.
        """
        for channel_id, head_seq in heads:
            self._next_seq[channel_id] = head_seq + 1
        self.phase = Phase.LIVE
        aside, self._aside = self._aside, []
        for channel_id, seq, field in aside:
            if field is None:
                self.depart(channel_id, seq)
                continue
            verdict = self._offer(channel_id, seq, field)
            if verdict is not Verdict.TAKEN:
                return verdict
        return Verdict.TAKEN

    def deliver(self, channel_id: str, first_seq: int, fields: Collection[bytes]) -> Verdict:
        """Events of one channel came, dense from `first_seq`. Anything but TAKEN: the stream must end."""
        if self.phase is Phase.LIVE:
            for seq, field in enumerate(fields, start=first_seq):
                verdict = self._offer(channel_id, seq, field)
                if verdict is not Verdict.TAKEN:
                    return verdict
        elif self.phase is Phase.JOINING:
            if len(self._aside) + len(fields) > self._limits.fields:
                return Verdict.TOO_SLOW
            self._aside.extend((channel_id, seq, field) for seq, field in enumerate(fields, start=first_seq))
        return Verdict.TAKEN

    def depart(self, channel_id: str, seq: int) -> None:
        """The membership ended with the event at `seq`: a later one starts afresh. A session that has had
        later events passes over it: it is an announcement repeated.
        """
        if self.phase is Phase.JOINING:
            self._aside.append((channel_id, seq, None))
        elif self._next_seq.get(channel_id) == seq + 1:
            del self._next_seq[channel_id]

    def put(self, field: bytes) -> Verdict:
        """Queue a reply or a control."""
        return Verdict.TAKEN if self.outbox.add(field) else Verdict.TOO_SLOW

    def end(self) -> None:
        """Nothing more goes out; what waits is forgotten."""
        self.phase = Phase.ENDED
        self._aside.clear()
        self._next_seq.clear()
        self.outbox.clear()

    def _offer(self, channel_id: str, seq: int, field: bytes) -> Verdict:
        expected = self._next_seq.get(channel_id, seq)
        if seq < expected:
            return Verdict.TAKEN
        if seq > expected:
            return Verdict.GAP
        if not self.outbox.add(field):
            return Verdict.TOO_SLOW
        self._next_seq[channel_id] = seq + 1
        return Verdict.TAKEN
