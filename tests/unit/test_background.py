"""Work beside the calls: whoever ends is missed."""

from __future__ import annotations

import asyncio

import pytest

from parley_server.background import background


async def _returns() -> None:
    await asyncio.sleep(0)


async def _fails() -> None:
    await asyncio.sleep(0)
    raise RuntimeError("planted")


async def test_work_that_ends_is_logged_when_it_happens_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The node goes on, too. Planted: not looked at before the end; only what raised looked at."""
    asked, answered = asyncio.Event(), asyncio.Event()

    async def lasts() -> None:
        await asked.wait()
        answered.set()
        await asyncio.Event().wait()

    async with background(returning=_returns(), failing=_fails(), lasting=lasts()):
        for _ in range(10):
            await asyncio.sleep(0)
        missed = [vars(record)["fields"] for record in caplog.records]
        assert missed == [{"work": "returning"}, {"work": "failing"}]
        asked.set()
        async with asyncio.timeout(20):
            await answered.wait()
    assert len(caplog.records) == 2
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert "RuntimeError: planted" in caplog.text


async def test_what_is_cancelled_at_the_end_has_ended_and_is_not_missed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also when the block fails. Planted: not waited for; cancelled work logged, too."""
    ended = False

    async def lasts() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True

    with pytest.raises(ValueError, match="the block"):
        async with background(lasting=lasts()):
            await asyncio.sleep(0)
            raise ValueError("the block")
    assert ended
    assert not caplog.records
