from __future__ import annotations

import asyncio

import pytest

from parley_runtime.at_once import run_at_once


async def test_what_need_not_wait_is_done() -> None:
    async def inner() -> int:
        return 1

    async def work() -> int:
        return await inner() + 1

    assert run_at_once(work()) == 2


async def test_what_it_raises_is_raised() -> None:
    async def work() -> int:
        raise KeyError("no")

    with pytest.raises(KeyError):
        run_at_once(work())


async def test_what_waits_is_ended_and_named() -> None:
    """What it held is let go. Planted: without closing it the lock stayed held."""
    lock = asyncio.Lock()

    async def work() -> None:
        async with lock:
            await asyncio.sleep(1)

    waiting = work()
    with pytest.raises(RuntimeError, match="waits for something"):
        run_at_once(waiting)
    assert not lock.locked()
