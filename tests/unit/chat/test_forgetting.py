"""By which clock client ids are forgotten."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat import client_id, forgetting
from parley_server.chat.forgetting import KEPT_MS, EvenClock, forget, keep_forgetting
from parley_server.ports.message_log import StoreUnavailable
from parley_server.testing.manual_clock import ManualClock
from parley_server.testing.projected_log import LogWriter

NOW_MS = ManualClock().now_ms()
HOUR_SECONDS = 3600.0
DAY_MS = 24 * 3600 * 1000


def made_at(time_ms: int) -> str:
    digits = f"{time_ms:012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"


async def filled(*client_ids: str) -> MemoryProjections:
    log, projections = LogWriter("a"), MemoryProjections()
    log.join("ann")
    for each in client_ids:
        log.say(client_message_id=each)
    await projections.apply("a", log.events)
    return projections


def test_a_clock_is_believed_when_it_went_evenly_for_an_hour() -> None:
    """Planted: believed from the start on."""
    clock, even = ManualClock(), EvenClock()
    assert not even.believed(clock.now_ms(), clock.monotonic())
    clock.advance(HOUR_SECONDS - 1)
    assert not even.believed(clock.now_ms(), clock.monotonic())
    clock.advance(1)
    assert even.believed(clock.now_ms(), clock.monotonic())


@pytest.mark.parametrize("step_ms", [-61_000, 61_000, 400 * DAY_MS])
def test_a_clock_that_was_set_is_not_believed_for_an_hour(step_ms: int) -> None:
    """Forwards, it would forget what can still be repeated. Planted: steps not looked at; only those back."""
    clock, even = ManualClock(), EvenClock()
    even.believed(clock.now_ms(), clock.monotonic())
    clock.advance(2 * HOUR_SECONDS)
    assert even.believed(clock.now_ms(), clock.monotonic())
    clock.set_wall_clock_ms(clock.now_ms() + step_ms)
    for _ in range(60):
        assert not even.believed(clock.now_ms(), clock.monotonic())
        clock.advance(HOUR_SECONDS / 60)
    assert even.believed(clock.now_ms(), clock.monotonic())


def test_small_steps_add_up() -> None:
    """Planted: each time compared with the one before; a clock that creeps ahead was believed."""
    clock, even = ManualClock(), EvenClock()
    for _ in range(240):
        clock.advance(30)
        clock.set_wall_clock_ms(clock.now_ms() + 10_000)
        assert not even.believed(clock.now_ms(), clock.monotonic())


@example([-7 * DAY_MS, -8 * DAY_MS, -8 * DAY_MS - 1])
@given(st.lists(st.integers(-20 * DAY_MS, client_id.AHEAD_LIMIT_MS), max_size=20, unique=True))
async def test_what_may_be_repeated_is_remembered_and_nothing_older(ages_ms: list[int]) -> None:
    """Whatever an id that is taken now was made at. Planted: the day of grace left out and the time an hour
    off; the day of grace counted twice.
    """
    ids = {made_at(NOW_MS + age_ms): age_ms for age_ms in ages_ms}
    projections = await filled(*ids)
    await forget(projections, NOW_MS)
    for each, age_ms in ids.items():
        known = await projections.seqs_of("a", "ann", each) != ()
        assert known or client_id.check("id", each, NOW_MS) is not None
        assert known == (age_ms >= -8 * DAY_MS)


async def test_a_backlog_goes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: one part only."""
    monkeypatch.setattr(forgetting, "AT_ONCE", 3)
    monkeypatch.setattr(forgetting, "PAUSE_SECONDS", 0.0)
    old = [made_at(NOW_MS - 9 * DAY_MS - number) for number in range(10)]
    projections = await filled(*old)
    await forget(projections, NOW_MS)
    assert [await projections.seqs_of("a", "ann", each) for each in old] == [()] * 10


class HourlyClock(ManualClock):
    """An hour passes whenever it is asked."""

    def monotonic(self) -> float:
        before = super().monotonic()
        self.advance(HOUR_SECONDS)
        return before


class Enough(Exception):
    """The test has seen what it wanted."""


async def test_a_store_that_does_not_answer_is_asked_again() -> None:
    """Planted: the failure let through; nothing was forgotten any more until the next start."""
    asked: list[int] = []

    class Ids:
        async def forget_ids(self, *, before_ms: int, limit: int) -> int:
            asked.append(before_ms)
            if len(asked) == 1:
                raise StoreUnavailable("planted")
            raise Enough

    with pytest.raises(Enough):
        await keep_forgetting(Ids(), HourlyClock(), every_seconds=0)
    assert asked == [NOW_MS + hours * 3_600_000 - KEPT_MS for hours in (2, 3)]
