from __future__ import annotations

import asyncio
import gc

import pytest

from parley_runtime.eager import Ended, Rest, begin


async def test_what_need_not_wait_has_ended() -> None:
    async def inner() -> int:
        return 1

    async def work() -> int:
        return await inner() + 1

    assert begin(work()) == Ended(2)


async def test_what_it_raises_at_once_is_raised() -> None:
    async def work() -> int:
        raise KeyError("no")

    with pytest.raises(KeyError):
        begin(work())


async def test_the_rest_goes_on_where_it_waits() -> None:
    """Through several waits, in a task of its own, once begun. Planted: sending None again into the first
    wait ran past a future that was not done.
    """
    first: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    steps: list[str] = []

    async def work() -> int:
        steps.append("begun")
        found = await first
        steps.append("first")
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return found

    rest = begin(work())
    assert steps == ["begun"]
    assert isinstance(rest, Rest)

    async def go_on() -> int:
        return await rest

    task = asyncio.create_task(go_on())
    await asyncio.sleep(0)
    assert steps == ["begun"]
    first.set_result(7)
    assert await task == 7


async def test_failures_reach_the_work() -> None:
    """Of what it waits for, and cancellation. Planted: without throwing them in, the work was left where it
    waits and its lock was held for ever.
    """
    lock = asyncio.Lock()

    async def work(future: asyncio.Future[None]) -> str:
        async with lock:
            try:
                await future
            except ValueError:
                await asyncio.sleep(0)
                return "failed"
        return "done"

    loop = asyncio.get_running_loop()
    failing: asyncio.Future[None] = loop.create_future()
    rest = begin(work(failing))
    assert isinstance(rest, Rest)
    failing.set_exception(ValueError())
    assert await rest == "failed"
    assert not lock.locked()
    cancelled = begin(work(loop.create_future()))
    assert isinstance(cancelled, Rest)

    async def go_on() -> str:
        return await cancelled

    task = asyncio.create_task(go_on())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not lock.locked()


async def test_a_rest_that_is_dropped_ends_where_it_waits() -> None:
    """Nobody is told of it, and what it holds is let go: its task was cancelled before it began."""
    lock = asyncio.Lock()

    async def work() -> None:
        async with lock:
            await asyncio.get_running_loop().create_future()

    rest = begin(work())
    assert lock.locked()
    del rest
    gc.collect()
    assert not lock.locked()
