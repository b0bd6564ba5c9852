"""Threads that ask a SQL database, and the calls that wait for one."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

WAITING_LIMIT = 4096
"""Calls that wait for one of the threads or have it. One more finds the store unavailable."""

Result = TypeVar("Result")


class Threads:
    """So many threads at most. Calls get them in the order in which they came."""

    def __init__(self, count: int) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="parley-sql")
        self._waiting = 0
        self._closed = False

    async def run(self, work: Callable[[], Result]) -> Result:
        """The result of `work` on one of the threads. Raises StoreUnavailable, at once, when closed or when
        WAITING_LIMIT calls are there already.

        Who is cancelled goes at once. Work that was begun is carried out nevertheless, and keeps its thread
        and its place among the WAITING_LIMIT until its end; work that was not is never begun.
        """
        if self._closed:
            raise StoreUnavailable("the accounts are closed")
        if self._waiting >= WAITING_LIMIT:
            raise StoreUnavailable(f"{self._waiting} calls wait for the accounts")
        wanted = True

        def work_if_wanted() -> Result:
            if not wanted:
                raise StoreUnavailable("nobody waits for this call any more")
            return work()

        done = asyncio.get_running_loop().run_in_executor(self._executor, work_if_wanted)
        self._waiting += 1
        done.add_done_callback(self._was_done)
        try:
            # A thread is not interrupted, and who leaves it must not make it look free.
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            wanted = False
            raise

    def refuse(self) -> None:
        """Every later call raises StoreUnavailable."""
        self._closed = True

    def join(self) -> None:
        """Return when all work has ended. Blocks; to be called after `refuse`."""
        self._executor.shutdown()

    def _was_done(self, done: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not done.cancelled():
            # Looked at in any case, or asyncio reports a failure that nobody looked at.
            done.exception()
