"""What a device has and what it lacks, decided without an event loop.

Per channel events are handed out strictly by seq, each once. Whatever does not fit makes the channel
*behind*: its range is fetched from the server's log, and live events of it only say how far to fetch. A
cursor is handed out once everything it stands for has been.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parley.chat.v1 import event_pb2, stream_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KNOWN_CHANNELS_LIMIT = 1000
"""How many channels a Hello may name."""

NO_POSITION = "none"
"""The cursor of a device that has no position. It is no cursor of any server, so the answer is a reset with
the heads of all channels. An empty one would be taken for what the device last acknowledged, and the server
would name only what changed since: too little for a device that knows no channel."""


@dataclass(frozen=True, slots=True)
class Range:
    """Seqs of one channel to fetch, both ends included. `to_seq` None: as far as the user may read."""

    channel_id: str
    from_seq: int
    to_seq: int | None


@dataclass(frozen=True, slots=True)
class SeqMark:
    """The device is at `seq` of the channel without having been handed what lies before."""

    channel_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class CursorMark:
    """Everything handed out before this brings the device to the cursor."""

    cursor: str


Item = event_pb2.Event | SeqMark | CursorMark
"""What is handed out, in this order."""


@dataclass(slots=True)
class Sync:
    """One device's place in all its channels, across streams.

    `cursor` and `seqs` are as they were stored; a device that has no cursor begins at the heads and is handed
    no past.
    """

    cursor: str = ""
    seqs: dict[str, int] = field(default_factory=dict)
    _behind: dict[str, int | None] = field(default_factory=dict)
    """Channels whose range is being fetched, and up to where (None: to the end of a former membership)."""
    _cursor_ahead: str = ""
    _begun: bool = False
    _told: bool = False
    _reset: bool = False
    _named: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._begun = bool(self.cursor)

    def hello(self, client: str, *, foreground: bool) -> stream_pb2.Hello:
        """The Hello of the next stream. The channels with the newest events are named first."""
        self._told = self._reset = False
        self._named.clear()
        self._cursor_ahead = ""
        # What was being fetched goes on: the seqs name nothing that the device does not have.
        newest = list(self.seqs.items())[-KNOWN_CHANNELS_LIMIT:]
        known = [
            stream_pb2.KnownChannel(channel_id=channel_id, seq=seq) for channel_id, seq in reversed(newest)
        ]
        return stream_pb2.Hello(
            cursor=self.cursor or NO_POSITION, client=client, foreground=foreground, known_channels=known
        )

    def received(self, frame: stream_pb2.ConnectResponse) -> list[Item]:
        """Take a frame of the stream. Returns what to hand out, in order."""
        out: list[Item] = []
        caught_up = False
        for control in frame.controls:
            kind = control.WhichOneof("control")
            if kind == "welcome":
                self._reset = control.welcome.HasField("reset")
                self._cursor_ahead = control.welcome.cursor
            elif kind == "digest":
                self._heads(control.digest.heads, out)
            elif kind == "caught_up":
                caught_up = True
        out.extend(event for event in frame.events if self._take(event))
        if frame.cursor:
            self._cursor_ahead = frame.cursor
        if caught_up:
            self._told_all()
        self._reach(out)
        return out

    def fetched(
        self, wanted: Range, events: Sequence[event_pb2.Event], *, complete: bool, head_seq: int
    ) -> list[Item]:
        """Take a page of a range: `complete` when it was the last one, `head_seq` as the server gave it."""
        out: list[Item] = []
        channel_id = wanted.channel_id
        for event in events:
            if event.seq > self.seqs.get(channel_id, 0):
                self._has(channel_id, event.seq)
                out.append(event)
        if channel_id in self._behind:
            have, to_seq = self.seqs.get(channel_id, 0), self._behind[channel_id]
            if to_seq is not None and have >= to_seq:
                del self._behind[channel_id]
            elif complete and to_seq == wanted.to_seq and (to_seq is None or head_seq >= to_seq):
                # Complete without having it all: the rest lies outside the user's memberships. A head before
                # the range's end would be a server that does not have it yet.
                if to_seq is not None:
                    self._has(channel_id, to_seq)
                    out.append(SeqMark(channel_id, to_seq))
                del self._behind[channel_id]
            self._reach(out)
        return out

    def forbidden(self, channel_id: str) -> list[Item]:
        """The server does not let the user read the channel: there is nothing to have."""
        out: list[Item] = []
        self._behind.pop(channel_id, None)
        self._reach(out)
        return out

    @property
    def behind(self) -> int:
        """How many channels are being fetched."""
        return len(self._behind)

    def next_range(self, being_fetched: Iterable[str] = ()) -> Range | None:
        """A range to fetch now, of a channel not in `being_fetched`; None when there is none."""
        taken = set(being_fetched)
        for channel_id, to_seq in self._behind.items():
            if channel_id not in taken:
                return Range(channel_id, self.seqs.get(channel_id, 0) + 1, to_seq)
        return None

    def _take(self, event: event_pb2.Event) -> bool:
        channel_id, seq = event.channel_id, event.seq
        if channel_id in self._behind:
            to_seq = self._behind[channel_id]
            if to_seq is None or seq > to_seq:
                self._behind[channel_id] = seq
            return False
        have = self.seqs.get(channel_id)
        if have is not None and seq <= have:
            return False
        if have is not None and seq > have + 1:
            # Missed, or from between two memberships: the server knows what of it the user may read.
            self._behind[channel_id] = seq
            return False
        self._has(channel_id, seq)
        return True

    def _heads(self, heads: Iterable[stream_pb2.ChannelHead], out: list[Item]) -> None:
        for head in heads:
            channel_id = head.channel_id
            self._named.add(channel_id)
            if channel_id not in self.seqs:
                if not self._begun:
                    self._has(channel_id, head.head_seq)
                    out.append(SeqMark(channel_id, head.head_seq))
                    continue
                self.seqs[channel_id] = max(0, head.joined_seq - 1)
            if head.head_seq > self.seqs[channel_id]:
                to_seq = self._behind.get(channel_id)
                if to_seq is None or to_seq < head.head_seq:
                    self._behind[channel_id] = head.head_seq

    def _told_all(self) -> None:
        if self._reset:
            # A channel that a reset does not name was left while the device was away, or since a digest that
            # broke off: its end is still to be read.
            for channel_id in self.seqs:
                if channel_id not in self._named:
                    self._behind[channel_id] = None
        self._reset = False
        self._told = self._begun = True

    def _has(self, channel_id: str, seq: int) -> None:
        # Newest last, so that a Hello can name those with the newest events.
        self.seqs.pop(channel_id, None)
        self.seqs[channel_id] = seq

    def _reach(self, out: list[Item]) -> None:
        # Not before everything was told: a later page of a digest may name what is still to be fetched.
        if self._cursor_ahead and self._told and not self._behind:
            if self._cursor_ahead != self.cursor:
                out.append(CursorMark(self._cursor_ahead))
            self.cursor, self._cursor_ahead = self._cursor_ahead, ""
