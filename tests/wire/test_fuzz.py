"""A short run of the fuzzer, and its corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_wire.connection import Connection
from parley_wire.testing import fuzz

if TYPE_CHECKING:
    from parley_wire.stream import Stream

# The corpus: always the same cases, so that what they reach stays reached.
CORPUS = range(10_000, 10_300)


def test_a_short_run() -> None:
    """No exception, nothing unbounded, nothing left; most frames past the handshake."""
    report = fuzz.fuzz(0, 60_000, seconds=8.0)
    assert report.frames >= 5_000
    assert report.past_settings >= 0.6 * report.frames
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
    with pytest.raises(fuzz.FuzzFailure, match=r"seed \d+: FuzzFailure: broken: "):
        fuzz.fuzz(0, 60_000, seconds=8.0)
