"""The laws of RateLimiter as tests. See message_log_contract for how a backend uses them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley_server.ports.rate_limiter import Rate, RateLimiter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_rates = st.builds(Rate, st.sampled_from([0.1, 1 / 3, 0.7, 1.0, 3.0, 10.0, 333.3]), st.integers(1, 40))


class RateLimiterContract(ABC):
    """Every test of every RateLimiter whose time can be held still: `pass_time` moves it."""

    @abstractmethod
    async def make(self) -> RateLimiter:
        """A limiter with every key at rest."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Let exactly this much time pass for all limiters made."""

    async def discard(self, limiter: RateLimiter) -> None:
        """Close what `make` opened."""
        return

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RateLimiter]:
        """A limiter for the length of a block."""
        limiter = await self.make()
        try:
            yield limiter
        finally:
            await self.discard(limiter)

    async def test_the_burst_is_exact(self) -> None:
        """Caught when the tolerance was burst intervals instead of burst - 1: one call too many passed."""
        async with self.opened() as limiter:
            for burst in (1, 2, 30):
                rate = Rate(10, burst)
                assert [await limiter.take(f"key {burst}", rate) for _ in range(burst)] == [0.0] * burst
                assert await limiter.take(f"key {burst}", rate) == pytest.approx(0.1)

    async def test_then_one_passes_per_interval(self) -> None:
        async with self.opened() as limiter:
            rate = Rate(4, 3)
            for _ in range(3):
                await limiter.take("key", rate)
            for _ in range(10):
                await self.pass_time(0.24)
                assert await limiter.take("key", rate) == pytest.approx(0.01)
                await self.pass_time(0.01)
                assert await limiter.take("key", rate) == 0.0
                assert await limiter.take("key", rate) == pytest.approx(0.25)

    async def test_a_refused_call_costs_nothing(self) -> None:
        """Caught when refused calls moved the arrival time: a client that kept trying never got in again."""
        async with self.opened() as limiter:
            rate = Rate(1, 1)
            assert await limiter.take("key", rate) == 0.0
            for _ in range(50):
                assert await limiter.take("key", rate) == pytest.approx(1.0)
            await self.pass_time(1.0)
            assert await limiter.take("key", rate) == 0.0

    async def test_rest_gives_the_whole_burst_back_and_no_more(self) -> None:
        async with self.opened() as limiter:
            rate = Rate(10, 5)
            for _ in range(2):
                assert [await limiter.take("key", rate) for _ in range(5)] == [0.0] * 5
                assert await limiter.take("key", rate) > 0
                await self.pass_time(3600)

    async def test_keys_do_not_influence_one_another(self) -> None:
        async with self.opened() as limiter:
            rate = Rate(1, 2)
            for _ in range(5):
                await limiter.take("loud", rate)
            assert [await limiter.take("quiet", rate) for _ in range(3)] == [0.0, 0.0, pytest.approx(1.0)]

    async def test_calls_at_once_share_one_burst(self) -> None:
        async with self.opened() as limiter:
            results = await asyncio.gather(*(limiter.take("key", Rate(1, 10)) for _ in range(100)))
            assert results.count(0.0) == 10

    async def test_many_keys_keep_their_state(self) -> None:
        """Caught when sweeping dropped keys that were not at rest."""
        async with self.opened() as limiter:
            rate = Rate(1, 1)
            keys = [f"key {number}" for number in range(500)]
            for _ in range(2):
                assert [await limiter.take(key, rate) for key in keys] == [0.0] * 500
                assert all([await limiter.take(key, rate) for key in keys])
                await self.pass_time(1.0)

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.function_scoped_fixture],
    )
    @given(rate=_rates, calls=st.lists(st.integers(1, 60), min_size=1, max_size=6))
    async def test_waiting_as_told_always_passes(self, rate: Rate, calls: list[int]) -> None:
        """In any interplay of bursts and waits: who waits the time that was answered gets in, not before.

        Counted over the whole run, no more calls pass than burst + time × rate.
        """
        async with self.opened() as limiter:
            passed = 0
            elapsed = 0.0
            for count in calls:
                for _ in range(count):
                    wait = await limiter.take("key", rate)
                    if wait:
                        short = wait * 0.01
                        await self.pass_time(wait - short)
                        assert await limiter.take("key", rate) > 0
                        await self.pass_time(short)
                        elapsed += wait
                        assert await limiter.take("key", rate) == 0.0
                    passed += 1
                    assert passed <= rate.burst + elapsed * rate.per_second + 1e-3
                await self.pass_time(0.5 / rate.per_second)
                elapsed += 0.5 / rate.per_second
