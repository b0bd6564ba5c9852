"""A few threads that read `chat.db`, each with a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import apsw

from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class Readers:
    """Owns the threads. `run` and `close` belong to the event loop that made it."""

    def __init__(self, connect: Callable[[], apsw.Connection], *, threads: int, limit_waiting: int) -> None:
        self._connect = connect
        self._limit_waiting = limit_waiting
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._closing = False
        self._jobs: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...], asyncio.Future[Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._ended: list[asyncio.Future[None]] = []
        self._threads: list[threading.Thread] = []
        for number in range(threads):
            ended: asyncio.Future[None] = self._loop.create_future()
            self._ended.append(ended)
            thread = threading.Thread(
                target=self._main, args=(ended,), name=f"parley-sqlite-reader-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call `function(connection, *arguments)` on a thread.

        Raises StoreUnavailable when the store failed or is closed, and at once when `limit_waiting` calls
        wait.
        """
        if self._closing:
            raise StoreUnavailable("the database is closed")
        if self._waiting >= self._limit_waiting:
            raise StoreUnavailable(f"{self._waiting} reads are waiting")
        future: asyncio.Future[Result] = self._loop.create_future()
        self._waiting += 1
        self._jobs.put((function, arguments, future))
        return await future

    async def close(self) -> None:
        """Answer what waits, then end the threads and close their connections. Calling again is harmless."""
        if not self._closing:
            self._closing = True
            for _ in self._threads:
                self._jobs.put(None)
        await asyncio.shield(asyncio.gather(*self._ended))
        for thread in self._threads:
            thread.join()

    def _resolve(self, future: asyncio.Future[Any], answer: Any) -> None:
        self._waiting -= 1
        if future.done():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _tell(self, callback: Callable[..., object], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _main(self, ended: asyncio.Future[None]) -> None:
        connection: apsw.Connection | None = None
        while (job := self._jobs.get()) is not None:
            function, arguments, future = job
            answer: Any
            try:
                if connection is None:
                    connection = self._connect()
                answer = function(connection, *arguments)
            except apsw.Error as error:
                answer = StoreUnavailable(f"{type(error).__name__}: {error}")
            except Exception as error:
                answer = error
            self._tell(self._resolve, future, answer)
        if connection is not None:
            with contextlib.suppress(apsw.Error):
                connection.close()
        self._tell(_set_result, ended)


def _set_result(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
