"""What a node does beside its calls: work that runs for as long as the node."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from parley_runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

log = get_logger(__name__)


@asynccontextmanager
async def background(**work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run each beside the block; when the block is left they are cancelled and have ended.

    Work of this kind runs until it is cancelled and deals with failures itself. If one ends all the same, an
    error is logged at that moment, with what it raised. The node goes on, and so does the other work: what
    was acknowledged does not depend on any of it, and every client would pay for an end. What the lost work
    did is not done again until the node is started anew.
    """
    tasks = [asyncio.create_task(part, name=name) for name, part in work.items()]
    for task in tasks:
        task.add_done_callback(_ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.error(
            "background work has ended; start the node anew to have it again",
            work=task.get_name(),
            exc_info=task.exception(),
        )
