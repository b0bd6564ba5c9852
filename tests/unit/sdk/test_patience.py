"""How long and how often a call is repeated."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parley
from parley._patience import Patience, persist, wait_before_repeating

UNREACHABLE = parley.Unreachable("gone", code=grpc.StatusCode.UNAVAILABLE)
fractions = st.floats(0, 1, exclude_max=True)


def _limited(after_seconds: float | None) -> parley.ParleyError:
    return parley.RateLimited(
        "slower",
        code=grpc.StatusCode.RESOURCE_EXHAUSTED,
        reason="RATE_LIMITED",
        retry_after_seconds=after_seconds,
    )


@given(st.integers(1, 10_000), st.floats(0, 100), fractions, st.none() | st.floats(0, 50))
def test_a_wait_is_bounded_fits_and_is_never_shorter_than_asked(
    attempts: int, remaining: float, fraction: float, asked: float | None
) -> None:
    """Planted: the bound not capped; the wait asked for ignored; no check of the time left."""
    error = parley.StoreUnavailable(
        "later", code=grpc.StatusCode.UNAVAILABLE, reason="STORE_UNAVAILABLE", retry_after_seconds=asked
    )
    wait = wait_before_repeating(Patience(100.0), error, attempts, remaining, fraction)
    if wait is None:
        assert (asked or 0.0) + 2.0 >= remaining
    else:
        assert (asked or 0.0) <= wait <= (asked or 0.0) + 2.0
        assert wait < remaining


@given(st.integers(1, 20))
def test_the_wait_is_drawn_from_its_whole_range(attempts: int) -> None:
    """Full jitter: those who failed together spread. Planted: half of the bound as a lower end."""
    at = [wait_before_repeating(Patience(1e9), UNREACHABLE, attempts, 1e9, each) for each in (0.0, 0.5)]
    assert at[0] == 0.0
    assert at[1] == min(2.0, 0.2 * 2 ** (attempts - 1)) / 2


@given(st.integers(1, 30), st.integers(1, 30), fractions)
def test_attempts_are_counted(attempts: int, limit: int, fraction: float) -> None:
    """Planted: > for >=, one attempt too many."""
    wait = wait_before_repeating(Patience(1e9, attempts_limit=limit), UNREACHABLE, attempts, 1e9, fraction)
    assert (wait is None) is (attempts >= limit)


@pytest.mark.parametrize(
    ("waits", "asked", "waited"), [(True, 3.0, True), (True, None, False), (False, 3.0, False)]
)
def test_a_limit_is_waited_for_only_where_wanted_and_told_how_long(
    waits: bool, asked: float | None, waited: bool
) -> None:
    """Guessing at a limit's end makes it worse. Planted: RESOURCE_EXHAUSTED retried like UNAVAILABLE."""
    wait = wait_before_repeating(Patience(60.0, waits_for_limits=waits), _limited(asked), 1, 60.0, 0.5)
    assert (wait is not None) is waited
    assert wait is None or wait >= 3.0


def test_what_cannot_help_is_not_repeated() -> None:
    """Planted: every ParleyError repeated."""
    for code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED):
        error = parley.ParleyError("no", code=code)
        assert wait_before_repeating(Patience(60.0, waits_for_limits=True), error, 1, 60.0, 0.0) is None


async def test_it_answers_as_soon_as_an_attempt_does() -> None:
    """Each attempt learns how long it may take. Planted: the total given to every attempt."""
    given_seconds: list[float] = []

    async def attempt(seconds: float) -> str:
        given_seconds.append(seconds)
        if len(given_seconds) < 3:
            raise UNREACHABLE
        return "answer"

    assert await persist(Patience(20.0, attempt_seconds=5.0), attempt) == "answer"
    assert given_seconds == [5.0, 5.0, 5.0]


async def test_it_ends_with_the_last_failure() -> None:
    """Planted: TimedOut raised whatever had happened, which hides that there is no server."""

    async def attempt(seconds: float) -> None:
        assert 0 < seconds <= 0.3
        raise UNREACHABLE

    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(parley.Unreachable):
        await persist(Patience(0.3), attempt)
    assert loop.time() - began < 2.0


async def test_no_time_at_all_is_a_time_out() -> None:
    """Planted: an attempt made with zero seconds."""

    async def attempt(seconds: float) -> None:
        raise AssertionError("no attempt was to be made")

    with pytest.raises(parley.TimedOut):
        await persist(Patience(0.0), attempt)
