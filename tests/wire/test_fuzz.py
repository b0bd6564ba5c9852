"""A short run of the fuzzer, and its corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_wire.connection import Connection
from parley_wire.frames import HEAD_BYTES, LARGEST_WINDOW
from parley_wire.headers import HeaderDecoder, HeaderList
from parley_wire.sender import Sender
from parley_wire.testing import fuzz
from parley_wire.testing.fuzz_case import FuzzFailure

if TYPE_CHECKING:
    from parley_wire.stream import Stream

# The corpus: always the same cases, so that what they reach stays reached. What the fuzzer found has a test
# of its own where it belongs, since a case changes with the fuzzer.
CORPUS = range(10_000, 10_300)


def test_a_short_run() -> None:
    """No exception, nothing unbounded, nothing left; most frames past the handshake."""
    report = fuzz.fuzz(0, 30_000, seconds=100.0)
    assert report.frames >= 30_000
    assert report.past_settings >= 0.6 * report.frames
    assert report.frames / report.cases > 30
    assert report.events > report.frames / 10


def test_the_corpus() -> None:
    """Each case alone, from its seed."""
    reports = [fuzz.replay(seed) for seed in CORPUS]
    assert sum(report.frames for report in reports) > 3000


def test_a_planted_leak_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer can fail: a connection that forgets to count what dead streams left unread is caught."""
    forget = Connection.forget

    def leaky(self: Connection, stream: Stream, *, by_us: bool) -> None:
        stream.unread_bytes, kept = 0, stream.unread_bytes
        forget(self, stream, by_us=by_us)
        stream.unread_bytes = kept

    monkeypatch.setattr(Connection, "forget", leaky)
    with pytest.raises(FuzzFailure, match=r"seed \d+: FuzzFailure: broken: "):
        fuzz.fuzz(0, 60_000, seconds=100.0)


def test_a_planted_silence_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that forgets streams whose window opens again never sends what waits: caught at the end of a
    polite conversation.
    """
    monkeypatch.setattr(Sender, "stream_window_opened", deaf)
    with pytest.raises(FuzzFailure, match="what waits goes once it may"):
        fuzz.fuzz(0, 60_000, seconds=100.0)


def test_a_planted_stale_header_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that goes on trusting its memory of blocks when the table has changed."""
    decode = HeaderDecoder.decode

    def stale(self: HeaderDecoder, block: bytes) -> HeaderList:
        known = self._memory
        decoded = decode(self, block)
        self._memory = self._memory or known
        return decoded

    monkeypatch.setattr(HeaderDecoder, "decode", stale)
    with pytest.raises(FuzzFailure, match="headers mean what was sent"):
        fuzz.fuzz(0, 200_000, seconds=100.0)


def deaf(self: Sender, stream: Stream, increment: int) -> bool:
    """It counts, and does no more."""
    stream.send_window += increment
    return stream.send_window <= LARGEST_WINDOW


def test_a_planted_overrun_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that minds the connection's window but not a stream's: caught by who looks at the output."""

    def at_once(self: Sender, stream: Stream, frame: bytes) -> bool:
        size = len(frame) - HEAD_BYTES
        self.window -= size
        stream.send_window -= size
        self.out.append(frame)
        return True

    monkeypatch.setattr(Sender, "data_frame", at_once)
    with pytest.raises(FuzzFailure, match="more data than a window takes"):
        fuzz.fuzz(0, 60_000, seconds=100.0)
