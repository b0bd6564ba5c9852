"""The coroutines of a run, as tasks that end with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine


def being_cancelled() -> bool:
    """Whether the running task is being cancelled, and not only the call that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def wait_for(work: Awaitable[object], seconds: float) -> None:
    """Wait for the work, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        # The history shows what is missing.
        return


class Tasks:
    """Tasks of one block. What fails in one is raised by `ended` or `cancel`."""

    def __init__(self, work: list[Coroutine[None, None, None]]) -> None:
        self._tasks = [asyncio.create_task(each) for each in work]

    async def ended(self, seconds: float) -> None:
        """Return when all have ended, or after `seconds`."""
        await asyncio.wait(self._tasks, timeout=seconds)

    async def cancel(self) -> None:
        """Cancel those that still run and wait for all."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
