from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_server.backends.memory.rate_limiter import MemoryRateLimiter
from parley_server.ports.rate_limiter import Rate
from parley_server.testing.manual_clock import ManualClock
from parley_server.testing.rate_limiter_contract import RateLimiterContract

if TYPE_CHECKING:
    from parley_server.ports.rate_limiter import RateLimiter


class TestMemoryRateLimiter(RateLimiterContract):
    @pytest.fixture(autouse=True)
    def _clock(self) -> None:
        self.clock = ManualClock()

    async def make(self) -> RateLimiter:
        return MemoryRateLimiter(self.clock)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


async def test_keys_at_rest_are_dropped_as_others_come() -> None:
    clock = ManualClock()
    limiter = MemoryRateLimiter(clock)
    for number in range(2000):
        await limiter.take(f"key {number}", Rate(1, 10))
        clock.advance(0.1)
    assert len(limiter._arrivals) < 40


async def test_the_number_of_keys_is_bounded_however_many_callers_come() -> None:
    limiter = MemoryRateLimiter(ManualClock(), limit_keys=100)
    for number in range(1000):
        await limiter.take(f"key {number}", Rate(1, 1))
        assert len(limiter._arrivals) <= 100
    assert await limiter.take("key 999", Rate(1, 1)) > 0
