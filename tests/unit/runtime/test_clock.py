"""The machine's clocks."""

from __future__ import annotations

import time

from parley_runtime.clock import SystemClock


def test_now_is_wall_clock_time_in_milliseconds() -> None:
    """Seconds or microseconds fail."""
    before = time.time() * 1000
    now_ms = SystemClock().now_ms()
    assert before - 1 <= now_ms <= time.time() * 1000 + 1


def test_monotonic_never_goes_back() -> None:
    """In seconds."""
    clock = SystemClock()
    seen = [clock.monotonic() for _ in range(1000)]
    assert seen == sorted(seen)
    assert abs(clock.monotonic() - time.monotonic()) < 1
