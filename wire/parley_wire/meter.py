"""A token bucket: how often a peer may do what costs us more than it costs him."""

from __future__ import annotations


class Meter:
    """Allows `burst` at once and `per_second` in the long run."""

    __slots__ = ("_burst", "_filled_at", "_left", "_per_second")

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._filled_at = -1.0

    def take(self, now_seconds: float, count: float = 1.0) -> bool:
        """Count one, or something that costs as much as several. False: the allowance is used up."""
        if self._filled_at < 0.0:
            self._filled_at = now_seconds
        left = self._left - count
        if left < 0.0:
            left += (now_seconds - self._filled_at) * self._per_second
            self._filled_at = now_seconds
            left = min(left, self._burst - count)
            if left < 0.0:
                self._left = left + count
                return False
        self._left = left
        return True

    def give(self, count: float) -> None:
        """Allow `count` more, up to the burst."""
        self._left = min(self._left + count, float(self._burst))
