"""The one thread that writes `chat.db`: whatever waits becomes one transaction, one sync for all (group
commit).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import apsw

from parley_runtime.disk_full import DISK_FULL, note_disk_full
from parley_runtime.logs import get_logger
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = get_logger(__name__)

DURABLE: Final = "FULL"
"""`synchronous` for a transaction that somebody must be able to rely on: the log is synced before COMMIT
returns.
"""

LAZY: Final = "NORMAL"
"""`synchronous` for a transaction that can be rebuilt: it is synced with the next durable one, or when
idle.
"""

IDLE_SYNC_SECONDS: Final = 0.01
CHECKPOINT_PAGES: Final = 4000
LONGEST_STATEMENT_ROWS: Final = 128
"""A power of two."""

Request = TypeVar("Request")
Result = TypeVar("Result")


class Write(ABC, Generic[Request, Result]):
    """One kind of write. Its methods run on the writer's thread only, so it may keep a cache without a lock.

    `durable` says whether its effect must survive a power cut once it was answered. `alone` that it is run
    between transactions, with none open.
    """

    durable: bool = True
    alone: bool = False

    @abstractmethod
    def run(self, connection: apsw.Connection, requests: Sequence[Request]) -> list[Result | Exception]:
        """Carry out all requests within the open transaction. One result each; an exception is raised to
        its caller.

        A request answered by an exception must have written nothing. An exception raised from here undoes
        the whole transaction; each of its requests is then run again in one of its own.
        """

    def forget(self) -> None:
        """The transaction was undone: drop everything cached."""
        return

    def failed(self, request: Request, cause: str, *, may_be_written: bool) -> Result | Exception:
        """The answer when the store failed; `may_be_written` is False when it is certain that nothing was."""
        return StoreUnavailable(cause)


class WriterClosed(Exception):
    """The database was closed: nothing was written."""


class WriterFull(Exception):
    """Too much is waiting to be written: nothing was written."""


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """Bounds of the queue and of one transaction.

    Beyond `queued_rows` or `queued_bytes` waiting, writes marked `sheddable` are refused; the others have
    as much again, so that what was committed can still be projected. A batch of 256 rows keeps the 99th
    percentile low.
    """

    batch_rows: int = 256
    batch_bytes: int = 4 << 20
    queued_rows: int = 16_384
    queued_bytes: int = 64 << 20


@dataclass(slots=True, eq=False)
class _Job:
    write: Write[Any, Any]
    request: Any
    rows: int
    size_bytes: int
    future: asyncio.Future[Any]


class Writer:
    """Owns the thread and its connection. `submit` and `close` belong to the event loop that made it."""

    def __init__(self, connect: Callable[[], apsw.Connection], limits: WriterLimits) -> None:
        self._connect = connect
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        # On the loop: what this tick submitted, and how much is not answered yet.
        self._tick: list[_Job] = []
        self._queued_rows = 0
        self._queued_bytes = 0
        self._closing = False
        # To the thread: one list per tick; None says that no more will come.
        self._handed: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        # On the thread.
        self._backlog: deque[_Job] = deque()
        self._no_more = False
        self._synchronous = ""
        self._lazy_commits = False
        self._wal_pages = 0
        self._thread = threading.Thread(target=self._main, name="parley-sqlite-writer", daemon=True)

    async def open(self) -> None:
        """Start the thread and open its connection. Raises what opening raised; nothing is left running
        then.
        """
        self._thread.start()
        await self._opened

    def submit(
        self,
        write: Write[Request, Result],
        request: Request,
        *,
        rows: int = 1,
        size_bytes: int = 0,
        sheddable: bool = False,
    ) -> asyncio.Future[Result]:
        """Queue one request for the next transaction. Raises WriterClosed or WriterFull: nothing is written
        then.

        A caller who stops waiting does not stop the write.
        """
        if self._closing:
            raise WriterClosed("the database is closed")
        limits, factor = self._limits, 1 if sheddable else 2
        if (
            self._queued_rows + rows > limits.queued_rows * factor
            or self._queued_bytes + size_bytes > limits.queued_bytes * factor
        ):
            raise WriterFull(f"{self._queued_rows} rows are waiting to be written")
        self._queued_rows += rows
        self._queued_bytes += size_bytes
        future: asyncio.Future[Result] = self._loop.create_future()
        if not self._tick:
            self._loop.call_soon(self._hand_over)
        self._tick.append(_Job(write, request, rows, size_bytes, future))
        return future

    async def close(self) -> None:
        """Write everything that is queued, end the thread, close the connection. Twice is harmless."""
        if not self._closing:
            self._closing = True
            self._hand_over()
            self._handed.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    def _hand_over(self) -> None:
        if self._tick:
            self._handed.put(self._tick)
            self._tick = []

    def _resolve(self, answers: list[tuple[_Job, Any]]) -> None:
        for job, answer in answers:
            self._queued_rows -= job.rows
            self._queued_bytes -= job.size_bytes
            if job.future.done():
                continue
            if isinstance(answer, Exception):
                job.future.set_exception(answer)
            else:
                job.future.set_result(answer)

    # From here on: the thread.

    def _tell(self, callback: Callable[..., object], *arguments: Any) -> None:
        # The loop may be gone when its owner never closed the database: nobody is left to be told.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _main(self) -> None:
        try:
            connection = self._connect()
            connection.set_wal_hook(self._wal_grew)
        except Exception as error:
            self._tell(_set_exception, self._opened, error)
            return
        self._tell(_set_result, self._opened)
        try:
            while batch := self._next_batch(connection):
                answers = self._commit(connection, batch)
                self._tell(self._resolve, answers)
                if self._wal_pages >= CHECKPOINT_PAGES:
                    self._checkpoint(connection)
        finally:
            with contextlib.suppress(apsw.Error):
                connection.close()
            self._tell(_set_result, self._ended)

    def _next_batch(self, connection: apsw.Connection) -> list[_Job]:
        """Wait for work. An empty batch says that the writer was closed and everything is written."""
        backlog = self._backlog
        while not self._no_more:
            try:
                if backlog:
                    jobs = self._handed.get_nowait()
                elif self._lazy_commits:
                    jobs = self._handed.get(timeout=IDLE_SYNC_SECONDS)
                else:
                    jobs = self._handed.get()
            except queue.Empty:
                if backlog:
                    break
                self._sync(connection)
                continue
            if jobs is None:
                self._no_more = True
            else:
                backlog.extend(jobs)
        batch: list[_Job] = []
        rows = size_bytes = 0
        limits = self._limits
        while backlog:
            job = backlog[0]
            if batch and (
                job.write.alone
                or batch[0].write.alone
                or rows + job.rows > limits.batch_rows
                or size_bytes + job.size_bytes > limits.batch_bytes
            ):
                break
            rows += job.rows
            size_bytes += job.size_bytes
            batch.append(backlog.popleft())
        return batch

    def _commit(self, connection: apsw.Connection, batch: list[_Job]) -> list[tuple[_Job, Any]]:
        """Carry out the batch in one transaction and answer every job.

        Before COMMIT an error undoes the transaction: certainly nothing was written. An error of COMMIT
        leaves open whether the log file holds the commit, which a restart would then find:
        `may_be_written`. Only a full disk does not: the frame that makes the commit is written last, and it
        was not.
        """
        if batch[0].write.alone:
            return [(batch[0], self._run_alone(connection, batch[0]))]
        kinds: dict[Write[Any, Any], list[_Job]] = {}
        for job in batch:
            kinds.setdefault(job.write, []).append(job)
        answers: list[tuple[_Job, Any]] = []
        committing = False
        durable = any(write.durable for write in kinds)
        try:
            self._set_synchronous(connection, DURABLE if durable else LAZY)
            connection.execute("BEGIN IMMEDIATE")
            for write, jobs in kinds.items():
                results = write.run(connection, [job.request for job in jobs])
                answers.extend(zip(jobs, results, strict=True))
            committing = True
            connection.execute("COMMIT")
        except Exception as error:
            self._undo(connection, kinds)
            if not committing and len(batch) > 1 and not isinstance(error, _STORE_FAILED):
                return [answer for job in batch for answer in self._commit(connection, [job])]
            if not isinstance(error, apsw.Error):
                return [(job, error) for job in batch]
            open_end = committing and not isinstance(error, apsw.FullError)
            cause = _explain("a transaction of chat.db failed", error, may_be_written=open_end)
            return [(job, job.write.failed(job.request, cause, may_be_written=open_end)) for job in batch]
        self._lazy_commits = not durable
        return answers

    def _run_alone(self, connection: apsw.Connection, job: _Job) -> Any:
        try:
            self._set_synchronous(connection, DURABLE)
            return job.write.run(connection, [job.request])[0]
        except apsw.Error as error:
            cause = _explain("work on chat.db between transactions failed", error)
            return job.write.failed(job.request, cause, may_be_written=False)
        except Exception as error:
            return error

    def _undo(self, connection: apsw.Connection, kinds: dict[Write[Any, Any], list[_Job]]) -> None:
        with contextlib.suppress(apsw.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        for write in kinds:
            write.forget()

    def _set_synchronous(self, connection: apsw.Connection, level: str) -> None:
        if level != self._synchronous:
            # This pragma acts while it is compiled: a cached statement would do nothing.
            connection.execute(f"PRAGMA synchronous = {level}", can_cache=False)
            self._synchronous = level

    def _sync(self, connection: apsw.Connection) -> None:
        """Make lazy transactions durable: any durable one after them does, here one that changes nothing."""
        self._lazy_commits = False
        try:
            self._set_synchronous(connection, DURABLE)
            version = connection.pragma("user_version")
            connection.execute(f"PRAGMA user_version = {version}", can_cache=False)
        except apsw.Error as error:
            _explain("syncing chat.db failed", error)

    def _wal_grew(self, connection: apsw.Connection, database: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, connection: apsw.Connection) -> None:
        # Between transactions, after their callers were answered: nobody's commit waits inside it.
        self._wal_pages = 0
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            _explain("a checkpoint of chat.db failed; it is tried again later", error)


_STORE_FAILED: Final = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.NotADBError,
    apsw.ReadOnlyError,
)
"""Errors of the store, not of one request: running the others again would not help."""


class RowsStatement:
    """A statement over many rows at once: `head`, then `(?, ?), (?, ?) …`, then `tail`.

    One step of SQLite for up to 128 rows. Each step gives up the interpreter's lock and must win it back
    from a busy event loop, so a step per row would cost far more than the rows.
    """

    def __init__(self, head: str, columns: int, tail: str = "") -> None:
        self._head = head
        self._columns = columns
        self._tail = tail
        # By number of rows, made when they are first needed: all of them take half a megabyte.
        self._texts: dict[int, str] = {}

    def run(self, connection: apsw.Connection, values: Sequence[Any]) -> int:
        """Run over `values`, the rows laid end to end. Returns how many rows it changed."""
        changed = start = 0
        left = len(values) // self._columns
        size = LONGEST_STATEMENT_ROWS
        while left:
            while left < size:
                size >>= 1
            end = start + size * self._columns
            connection.execute(self._text(size), values[start:end])
            changed += connection.changes()
            start = end
            left -= size
        return changed

    def _text(self, rows: int) -> str:
        text = self._texts.get(rows)
        if text is None:
            row = "(" + ", ".join("?" * self._columns) + ")"
            self._texts[rows] = text = self._head + ", ".join([row] * rows) + self._tail
        return text


def _explain(event: str, error: apsw.Error, **fields: object) -> str:
    """Log what failed. Returns its cause, for the callers. A full disk is no defect that a traceback helps
    with, and every transaction meets it.
    """
    if isinstance(error, apsw.FullError):
        note_disk_full()
        return DISK_FULL
    log.error(event, exc_info=error, **fields)
    return f"{type(error).__name__}: {error}"


def _set_result(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _set_exception(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
