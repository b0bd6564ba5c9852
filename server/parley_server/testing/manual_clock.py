"""A clock that stands still until it is told to go on."""

from __future__ import annotations


class ManualClock:
    """Clock for tests: both times move only by `advance` and `set_wall_clock_ms`."""

    def __init__(self, *, now_ms: int = 1_767_225_600_000, monotonic: float = 1000.0) -> None:
        """Start at `now_ms` (2026-01-01 UTC) and at `monotonic` seconds."""
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._part_ms = 0.0

    def now_ms(self) -> int:
        """See Clock."""
        return self._now_ms

    def monotonic(self) -> float:
        """See Clock."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks. Raises ValueError when negative: monotonic time never goes
        back.
        """
        if seconds < 0:
            raise ValueError("time cannot go back: use set_wall_clock_ms for the wall clock")
        self._monotonic += seconds
        whole_ms, self._part_ms = divmod(self._part_ms + seconds * 1000, 1)
        self._now_ms += int(whole_ms)

    def set_wall_clock_ms(self, now_ms: int) -> None:
        """Set the wall clock, also back, as an operator or NTP may; monotonic time does not notice."""
        self._now_ms = now_ms
