"""The devices' side: what each was given against the logs within its user's times as a member. Pure.

It replays by the book what a device was given: per channel the newest seq is kept, and what is not greater is
passed over.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

from parley_server.chat.cursor import cursor_of
from parley_server.testing.robustness.faults import KILL, KILL_AT_REST
from parley_server.testing.robustness.finding import Finding, Kind
from parley_server.testing.robustness.history import Outcome
from parley_server.testing.robustness.model import NO_SHARE, ChannelLog, Floor, Share, shares_of
from parley_server.testing.robustness.reader_validation import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parley_server.testing.robustness.history import DeviceStream, Entry, History, Step


def device_findings(history: History, logs: dict[str, ChannelLog]) -> Iterator[Finding]:
    """All that devices were given, or not given, and cannot be, given the logs."""
    if not history.device_streams:
        return
    facts = _Facts.of(history, logs)
    by_device: dict[str, list[DeviceStream]] = defaultdict(list)
    for stream in history.device_streams:
        by_device[stream.device].append(stream)
    for streams in by_device.values():
        yield from _epochs(streams, history)
        lives = [list(life) for _, life in groupby(streams, key=lambda stream: stream.life)]
        for life in lives:
            device = _Device(facts, life[0])
            for stream in life:
                yield from device.replay(stream)
        yield from device.ended(lives[-1][-1], history)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What every device can be held against.

    `floors` say by channel which seq was acknowledged before a time. `cursors` say by user and epoch, in the
    order of positions, before which time everything acknowledged is covered by that position.
    """

    logs: dict[str, ChannelLog]
    shares: dict[str, dict[str, Share]]
    floors: dict[str, Floor]
    cursors: dict[tuple[str, str], tuple[list[int], list[int]]]

    @classmethod
    def of(cls, history: History, logs: dict[str, ChannelLog]) -> _Facts:
        told: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for send in history.sends:
            if send.outcome is Outcome.OK and send.place is not None and send.end_ns is not None:
                told[send.channel_id].append((send.end_ns, send.place.seq))
        cursors: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for stream in history.device_streams:
            is_live = False
            for step in stream.steps:
                is_live = is_live or step.what == "caught_up"
                cursor = cursor_of(stream.user_id, step.text) if step.what == "cursor" else None
                if is_live and cursor is not None:
                    # The first cursor of a live stream is at least the feed's as the stream began.
                    cursors[stream.user_id, cursor.epoch].append((cursor.position, stream.start_ns))
                    break
        return cls(
            logs,
            {channel_id: shares_of(log) for channel_id, log in logs.items()},
            {channel_id: Floor(facts) for channel_id, facts in told.items()},
            {
                key: (
                    [position for position, _ in sorted(found)],
                    list(accumulate((start_ns for _, start_ns in sorted(found)), max)),
                )
                for key, found in cursors.items()
            },
        )

    def share(self, channel_id: str, user_id: str) -> Share:
        return self.shares.get(channel_id, {}).get(user_id, NO_SHARE)

    def covered_ns(self, user_id: str, epoch: str, position: int) -> int:
        """What was acknowledged before this time is covered by the cursor; 0 when nothing is known."""
        positions, times = self.cursors.get((user_id, epoch), ([], []))
        index = bisect_right(positions, position)
        return times[index - 1] if index else 0


@dataclass(slots=True)
class _Device:
    """One device in one of its lives."""

    facts: _Facts
    first: DeviceStream
    newest: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    resume: str = ""

    @property
    def what(self) -> str:
        return f"device {self.first.device}"

    def replay(self, stream: DeviceStream) -> Iterator[Finding]:
        """Take what one stream gave."""
        self.resume = self.resume or stream.resume
        on_stream: dict[str, int] = {}
        position, covered_ns = -1, 0
        for step in stream.steps:
            if step.what in ("event", "fetched") and step.entry is not None:
                if step.what == "event":
                    yield from self._order(step, on_stream, stream)
                yield from self._event(step, step.entry, stream)
            elif step.what == "began":
                log = self.facts.logs.get(step.channel_id)
                if log is None or step.seq > log.head_seq:
                    yield self._finding(Kind.VANISHED, step.channel_id, stream, f"was told head {step.seq}")
                self.newest[step.channel_id] = step.seq
            elif step.what == "read":
                self.read[step.channel_id] = max(step.seq, self.read.get(step.channel_id, 0))
            elif step.what == "caught_up":
                yield from self._complete(Kind.NOT_CAUGHT_UP, stream.start_ns, stream)
            elif step.what == "cursor":
                cursor = cursor_of(stream.user_id, step.text)
                if cursor is None or cursor.position < position:
                    yield self._finding(
                        Kind.CURSOR_WENT_BACK, "", stream, f"had cursor {step.text} after position {position}"
                    )
                    continue
                position = cursor.position
                must_ns = self.facts.covered_ns(stream.user_id, cursor.epoch, position)
                if must_ns > covered_ns:
                    covered_ns = must_ns
                    yield from self._complete(Kind.CURSOR_AHEAD, covered_ns, stream)

    def ended(self, stream: DeviceStream, history: History) -> Iterator[Finding]:
        """Judge a device's end: its last stream was left open until it should have had everything."""
        if stream.ended != FINISHED:
            yield self._finding(Kind.ENDED_EARLY, "", stream, f"is not live at the end: {stream.ended}")
        told: dict[str, int] = defaultdict(int)
        asked: dict[str, int] = defaultdict(int)
        for mark in history.marks:
            if mark.user_id == stream.user_id:
                asked[mark.channel_id] = max(mark.seq, asked[mark.channel_id])
                if mark.outcome is Outcome.OK:
                    told[mark.channel_id] = max(mark.read_seq, told[mark.channel_id])
        for channel_id in self.facts.logs:
            share = self.facts.share(channel_id, stream.user_id)
            has = self.newest.get(channel_id)
            if share.seqs and (share.is_open or has is not None) and (has or 0) < share.seqs[-1]:
                yield self._finding(
                    Kind.ENDED_EARLY, channel_id, stream, f"has seq {has}, its share ends at {share.seqs[-1]}"
                )
            read_seq = self.read.get(channel_id, 0)
            if stream.kind == "book" and share.is_open and read_seq < told[channel_id]:
                yield self._finding(
                    Kind.MARK_NOT_TOLD,
                    channel_id,
                    stream,
                    f"knows read position {read_seq}, acknowledged was {told[channel_id]}",
                )
            if read_seq > asked[channel_id]:
                yield self._finding(
                    Kind.MARK_PHANTOM,
                    channel_id,
                    stream,
                    f"knows read position {read_seq}, asked was {asked[channel_id]}",
                )

    def _order(self, step: Step, on_stream: dict[str, int], stream: DeviceStream) -> Iterator[Finding]:
        """On one stream the events of a channel never go back, whatever the device had before."""
        before = on_stream.get(step.channel_id, 0)
        if step.seq <= before:
            yield self._finding(
                Kind.STREAM_OUT_OF_ORDER, step.channel_id, stream, f"had seq {step.seq} after {before}"
            )
        on_stream[step.channel_id] = max(step.seq, before)

    def _event(self, step: Step, entry: Entry, stream: DeviceStream) -> Iterator[Finding]:
        channel_id, seq = step.channel_id, entry.seq
        log = self.facts.logs.get(channel_id)
        stored = log.by_seq.get(seq) if log is not None else None
        if stored is None:
            yield self._finding(Kind.VANISHED, channel_id, stream, f"was shown {entry}")
        elif stored != entry:
            yield self._finding(
                Kind.CHANGED, channel_id, stream, f"was shown {entry}, the log holds {stored}"
            )
        share = self.facts.share(channel_id, stream.user_id)
        if stored is not None and not share.holds(seq):
            yield self._finding(Kind.STRANGER_SERVED, channel_id, stream, f"was given seq {seq}")
        before = self.newest.get(channel_id)
        if stream.kind == "sdk" and before is not None and seq <= before:
            yield self._finding(
                Kind.STREAM_OUT_OF_ORDER, channel_id, stream, f"gave the program seq {seq} after {before}"
            )
        if before is None:
            # After a reset every channel that the user is in was named: others begin with a joining.
            named_all = self.resume.startswith("reset") or step.what == "fetched"
            if named_all and share.holds(seq) and seq not in share.starts:
                yield self._finding(
                    Kind.MISSED, channel_id, stream, f"met the channel with seq {seq}, not with its joining"
                )
        elif seq > before and share.holds(seq) and share.next_after(before) != seq:
            yield self._finding(
                Kind.MISSED,
                channel_id,
                stream,
                f"had seq {before} and was given {seq} ({step.what}), {share.next_after(before)} is next",
            )
        self.newest[channel_id] = max(seq, before or 0)

    def _complete(self, kind: Kind, time_ns: int, stream: DeviceStream) -> Iterator[Finding]:
        """What was acknowledged before this time the device has, in the channels that it has met."""
        for channel_id, has in self.newest.items():
            floor = self.facts.floors.get(channel_id)
            share = self.facts.share(channel_id, stream.user_id)
            must = share.last_up_to(floor.at(time_ns)) if floor is not None else 0
            if has < must:
                yield self._finding(kind, channel_id, stream, f"has seq {has}, must have {must}")

    def _finding(self, kind: Kind, channel_id: str, stream: DeviceStream, what: str) -> Finding:
        return Finding(kind, channel_id, f"{self.what}, stream {stream.number} ({stream.resume}): {what}")


def _epochs(streams: list[DeviceStream], history: History) -> Iterator[Finding]:
    """The embedded feed dies with its process: a cursor of before a kill must be answered with a reset."""
    kills = [fault.start_ns for fault in history.faults if fault.kind in (KILL, KILL_AT_REST)]
    brought_ns: dict[str, int] = {}
    for stream in streams:
        said = brought_ns.get(stream.cursor)
        if said is not None and stream.welcome_ns is not None and not stream.resume.startswith("reset"):
            killed = [kill_ns for kill_ns in kills if said < kill_ns < stream.start_ns]
            if killed:
                yield Finding(
                    Kind.EPOCH_KEPT,
                    "",
                    f"device {stream.device}, stream {stream.number}: cursor {stream.cursor} is of a node "
                    f"that was killed since, the answer was {stream.resume}",
                )
        if stream.welcome_ns is not None:
            for step in stream.steps:
                if step.what == "cursor":
                    brought_ns[step.text] = stream.welcome_ns
