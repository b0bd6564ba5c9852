"""One fuzzed conversation: a connection, its owner, its peer, and the rules that hold after every frame."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_wire.connection import Connection
from parley_wire.errors import ErrorCode
from parley_wire.events import DataReceived, RequestReceived, ResponseReceived, TrailersReceived
from parley_wire.limits import Limits
from parley_wire.messages import MessageReader, plain
from parley_wire.request import request_of
from parley_wire.settings import DEFAULT_WINDOW_BYTES
from parley_wire.status import CallFault
from parley_wire.testing.core_rules import rules_at_any_time, rules_at_the_end
from parley_wire.testing.fuzz_owner import FuzzOwner
from parley_wire.testing.fuzz_peer import FuzzPeer
from parley_wire.testing.output_judge import OutputJudge
from parley_wire.testing.peer import split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parley_wire.stream import Stream

SMALL = Limits(
    streams_per_connection=8,
    stream_window_bytes=30_000,
    connection_window_bytes=100_000,
    connection_unread_bytes=50_000,
    header_list_bytes=1000,
    header_list_hard_bytes=3000,
    header_block_bytes=4000,
    continuation_frames=4,
    resets_burst=40,
    control_frames_burst=300,
    pings_burst=100,
    flush_bytes=8000,
)


@dataclass(slots=True)
class Report:
    """What a run did."""

    cases: int = 0
    frames: int = 0
    past_settings: int = 0
    events: int = 0
    failed_connections: int = 0


class FuzzFailure(AssertionError):
    """A case broke a rule. The message names it."""


class FuzzCase:
    """One connection under test, with a peer that does not mean well or, in a third of the cases, does.

    The same seed and role play the same case.
    """

    def __init__(self, seed: int, *, client: bool, frames_per_case: int = 120) -> None:
        rand = self._random = random.Random(seed)
        self._count = frames_per_case
        # A third of the peers keep to the rules.
        rudeness = rand.choice((0.0, 0.002, 0.015))
        # How much of what comes is read at once.
        self._reads = rand.choice((0.1, 0.7))
        limits = SMALL if rand.random() < 0.7 else Limits()
        self._core = Connection(client=client, limits=limits)
        self._streams: list[Stream] = []
        self._readers: dict[int, MessageReader] = {}
        self._judge = judge = OutputJudge(DEFAULT_WINDOW_BYTES)
        both = (rand, self._core, self._streams, judge)
        self._peer = FuzzPeer(*both, client=client, rudeness=rudeness)
        self._owner = FuzzOwner(*both, client=client, reads=self._reads)
        self._report = Report(cases=1)
        self._now = 0.0

    def play(self) -> Report:
        """Play it. Raises FuzzFailure, or whatever the core raised."""
        core, report = self._core, self._report
        core.start()
        self._feed(self._peer.hello())
        past = not core.awaits_settings and not core.failed
        for _ in range(self._count):
            self._now += self._random.random() * 0.1
            self._owner.open()
            self._feed(self._peer.frame())
            report.frames += 1
            report.past_settings += past
            self._owner.act()
            self._write()
            _hold(rules_at_any_time(core))
            if core.failed:
                break
        if self._peer.polite and not core.failed:
            self._take_everything()
        report.failed_connections += core.failed
        core.close()
        for stream in self._streams:
            core.release(stream)
        _hold(rules_at_the_end(core))
        return report

    def _feed(self, data: bytes) -> None:
        """In pieces, now and then."""
        rand = self._random
        while data or self._core.has_more:
            cut = len(data) if rand.random() < 0.8 else rand.randint(min(1, len(data)), len(data))
            events = self._core.receive(data[:cut], self._now)
            data = data[cut:]
            self._report.events += len(events)
            for event in events:
                if (
                    isinstance(event, RequestReceived | ResponseReceived | TrailersReceived)
                    and self._peer.polite
                ):
                    _hold([(event.headers.fields == self._peer.said, "headers mean what was sent")])
                if isinstance(event, RequestReceived):
                    self._judge.opened(event.stream.id)
                    request_of(event.headers)
                    self._streams.append(event.stream)
                elif isinstance(event, DataReceived):
                    self._data(event)
                elif isinstance(event, ResponseReceived):
                    dict(event.headers.fields)

    def _data(self, event: DataReceived) -> None:
        reader = self._readers.setdefault(event.stream.id, MessageReader(100_000, "gzip"))
        try:
            for message in reader.feed(event.data):
                plain(message)
        except CallFault:
            del self._readers[event.stream.id]
            if self._random.random() < 0.5:
                self._core.reset(event.stream, ErrorCode.CANCEL)
        if self._random.random() < self._reads:
            self._core.consumed(event.stream, len(event.data))

    def _write(self) -> None:
        sender = self._core.sender
        if not sender.paused:
            while sender.has_more:
                for frame in split(sender.take()):
                    fault = self._judge.fault(frame, windows=self._peer.polite)
                    if fault:
                        raise FuzzFailure(f"broken: {fault}")
            for stream in sender.drained or ():
                stream.blocked = False
            sender.drained = self._core.closed_streams = None

    def _take_everything(self) -> None:
        """A peer that opens all its windows gets what waits."""
        self._feed(self._peer.all_windows())
        if not self._core.failed:
            self._core.sender.resume()
            self._write()
            _hold([(self._core.sender.queued_bytes == 0, "what waits goes once it may")])


def _hold(rules: Iterable[tuple[bool, str]]) -> None:
    for holds, name in rules:
        if not holds:
            raise FuzzFailure(f"broken: {name}")
