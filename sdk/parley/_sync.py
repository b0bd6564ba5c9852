"""What a device has and what it lacks, decided without an event loop.

Per channel events are handed out strictly by seq, each once. Whatever does not fit makes the channel
*behind*: its range is fetched from the server's log, and live events of it only say how far to fetch. A
cursor is handed out once everything it stands for has been.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parley.chat.v1 import stream_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from parley.chat.v1 import event_pb2

KNOWN_CHANNELS_LIMIT = 1000
"""How many channels a Hello may name."""


@dataclass(frozen=True, slots=True)
class Range:
    """Seqs of one channel to fetch, both ends included. `to_seq` None: as far as the user may read."""

    channel_id: str
    from_seq: int
    to_seq: int | None


@dataclass(frozen=True, slots=True)
class CursorMark:
    """Everything handed out before this brings the device to the cursor."""

    cursor: str


@dataclass(slots=True)
class _Behind:
    """A channel whose range is being fetched, up to `to_seq` (None: to the end of a former membership)."""

    to_seq: int | None


@dataclass(slots=True)
class Sync:
    """One device's place in all its channels, across streams.

    `cursor` and `seqs` are as they were stored; a device that has neither begins at the heads and is handed
    no past.
    """

    cursor: str = ""
    seqs: dict[str, int] = field(default_factory=dict)
    _behind: dict[str, _Behind] = field(default_factory=dict)
    _cursor_ahead: str = ""
    _fresh: bool = False
    _reset: bool = False
    _named: set[str] = field(default_factory=set)

    def hello(self, client: str, *, foreground: bool) -> stream_pb2.Hello:
        """The Hello of the next stream. The channels with the newest events are named first."""
        self._fresh = not self.cursor and not self.seqs
        self._reset = False
        self._named.clear()
        self._cursor_ahead = ""
        # What was being fetched goes on: the seqs tell the server nothing that the device does not have.
        newest = list(self.seqs.items())[-KNOWN_CHANNELS_LIMIT:]
        known = [
            stream_pb2.KnownChannel(channel_id=channel_id, seq=seq) for channel_id, seq in reversed(newest)
        ]
        return stream_pb2.Hello(
            cursor=self.cursor, client=client, foreground=foreground, known_channels=known
        )

    def received(self, frame: stream_pb2.ConnectResponse) -> list[event_pb2.Event | CursorMark]:
        """Take a frame of the stream. Returns what to hand out, in order."""
        for control in frame.controls:
            kind = control.WhichOneof("control")
            if kind == "welcome":
                self._reset = control.welcome.HasField("reset")
            elif kind == "digest":
                self._heads(control.digest.heads)
            elif kind == "caught_up":
                self._told_all()
        out: list[event_pb2.Event | CursorMark] = [event for event in frame.events if self._take(event)]
        if frame.cursor:
            self._cursor_ahead = frame.cursor
            out.extend(self._reached())
        return out

    def fetched(
        self, wanted: Range, events: Sequence[event_pb2.Event], *, complete: bool
    ) -> list[event_pb2.Event | CursorMark]:
        """Take a page of a range; `complete` when the server has no more of it that the user may read."""
        out: list[event_pb2.Event | CursorMark] = []
        channel_id = wanted.channel_id
        for event in events:
            if event.seq > self.seqs.get(channel_id, 0):
                self._has(channel_id, event.seq)
                out.append(event)
        behind = self._behind.get(channel_id)
        if behind is not None:
            have = self.seqs.get(channel_id, 0)
            asked_all = behind.to_seq == wanted.to_seq
            if (behind.to_seq is not None and have >= behind.to_seq) or (complete and asked_all):
                # Complete without having it all: the rest lies outside the user's memberships.
                if behind.to_seq is not None and have < behind.to_seq:
                    self._has(channel_id, behind.to_seq)
                del self._behind[channel_id]
                out.extend(self._reached())
        return out

    def forbidden(self, channel_id: str) -> list[event_pb2.Event | CursorMark]:
        """The server does not let the user read the channel: there is nothing to have."""
        self._behind.pop(channel_id, None)
        return list(self._reached())

    @property
    def behind(self) -> int:
        """How many channels are being fetched."""
        return len(self._behind)

    def next_range(self, being_fetched: Iterable[str] = ()) -> Range | None:
        """A range to fetch now, of a channel not in `being_fetched`; None when nothing is behind."""
        taken = set(being_fetched)
        for channel_id, behind in self._behind.items():
            if channel_id not in taken:
                return Range(channel_id, self.seqs.get(channel_id, 0) + 1, behind.to_seq)
        return None

    def _take(self, event: event_pb2.Event) -> bool:
        channel_id, seq = event.channel_id, event.seq
        behind = self._behind.get(channel_id)
        if behind is not None:
            if behind.to_seq is None or seq > behind.to_seq:
                behind.to_seq = seq
            return False
        have = self.seqs.get(channel_id)
        if have is not None and seq <= have:
            return False
        if have is not None and seq > have + 1:
            # Missed, or from between two memberships: the server knows what of it the user may read.
            self._behind[channel_id] = _Behind(seq)
            return False
        self._has(channel_id, seq)
        return True

    def _heads(self, heads: Iterable[stream_pb2.ChannelHead]) -> None:
        for head in heads:
            channel_id = head.channel_id
            self._named.add(channel_id)
            if self._fresh:
                self._has(channel_id, head.head_seq)
                continue
            if channel_id not in self.seqs:
                self.seqs[channel_id] = max(0, head.joined_seq - 1)
            if head.head_seq > self.seqs[channel_id]:
                behind = self._behind.get(channel_id)
                if behind is None or behind.to_seq is None or behind.to_seq < head.head_seq:
                    self._behind[channel_id] = _Behind(head.head_seq)

    def _told_all(self) -> None:
        if self._reset and not self._fresh:
            # A channel that a reset does not name was left while the device was away: its end is still to be
            # read.
            for channel_id in self.seqs:
                if channel_id not in self._named and channel_id not in self._behind:
                    self._behind[channel_id] = _Behind(None)
        self._reset = False
        self._fresh = False

    def _has(self, channel_id: str, seq: int) -> None:
        # Newest last, so that a Hello can name those with the newest events.
        self.seqs.pop(channel_id, None)
        self.seqs[channel_id] = seq

    def _reached(self) -> Iterable[CursorMark]:
        if self._cursor_ahead and not self._behind:
            self.cursor, self._cursor_ahead = self._cursor_ahead, ""
            return (CursorMark(self.cursor),)
        return ()
