"""Lines in the log that strangers can cause as often as they like."""

from __future__ import annotations

from parley_wire.log import log
from parley_wire.meter import Meter


class LimitedLog:
    """Writes `lines_per_minute` at most; those beyond are counted, and told with the next line."""

    def __init__(self, lines_per_minute: int) -> None:
        self._meter = Meter(lines_per_minute, lines_per_minute / 60)
        self._untold = 0

    def write(self, level: int, line: str, *values: object, now_seconds: float) -> None:
        """A line in the words of `logging`, of one of its levels."""
        if not self._meter.take(now_seconds):
            self._untold += 1
            return
        if self._untold:
            line += f" ({self._untold} more like it were not logged)"
            self._untold = 0
        log.log(level, line, *values)
