"""The generic cell rate algorithm in this process's memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from parley_runtime.clock import Clock
    from parley_server.ports.rate_limiter import Rate

_NANOSECONDS: Final = 1_000_000_000
# What rounding the clock to whole nanoseconds may cost a caller who waited exactly as long as he was told.
_SLACK_NANOSECONDS: Final = 4
_SWEPT_PER_CALL: Final = 2


class MemoryRateLimiter:
    """RateLimiter as one dictionary, the embedded default.

    A key at rest needs no memory: each call looks at the two keys that were looked at longest ago, and drops
    those at rest.
    At `limit_keys` keys the next one looked at is dropped even if it is not at rest: under a flood of
    callers some start anew, and memory stays bounded.
    """

    answers_at_once = True

    def __init__(self, clock: Clock, *, limit_keys: int = 1_000_000) -> None:
        self._clock = clock
        self._limit_keys = limit_keys
        # Key -> its theoretical arrival time in nanoseconds: the moment at which it is at rest again.
        self._arrivals: OrderedDict[str, int] = OrderedDict()

    async def take(self, key: str, rate: Rate) -> float:
        """See RateLimiter."""
        now = round(self._clock.monotonic() * _NANOSECONDS)
        arrivals = self._arrivals
        interval = max(1, round(_NANOSECONDS / rate.per_second))
        slack = min(_SLACK_NANOSECONDS, interval // 2)
        arrival = max(arrivals.get(key, now), now)
        early = arrival - now - interval * (rate.burst - 1)
        if early > slack:
            return early / _NANOSECONDS
        arrivals[key] = arrival + interval
        self._sweep(now)
        return 0.0

    def _sweep(self, now: int) -> None:
        arrivals = self._arrivals
        for _ in range(min(_SWEPT_PER_CALL, len(arrivals))):
            key, arrival = arrivals.popitem(last=False)
            if arrival > now:
                arrivals[key] = arrival
        if len(arrivals) > self._limit_keys:
            arrivals.popitem(last=False)
