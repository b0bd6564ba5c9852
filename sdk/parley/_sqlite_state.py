"""A state store in one SQLite file, written by a thread of its own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from parley._state import StateError, StoredState
from parley.chat.v1 import message_requests_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_Result = TypeVar("_Result")

_SCHEMA_VERSION = 1
_LOCK_SECONDS = 2.0

_SCHEMA = """
CREATE TABLE owner (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), user_id TEXT NOT NULL,
                    cursor TEXT NOT NULL);
CREATE TABLE seqs (channel_id TEXT PRIMARY KEY, seq INTEGER NOT NULL, change_no INTEGER NOT NULL);
CREATE TABLE outbox (no INTEGER PRIMARY KEY AUTOINCREMENT, client_message_id TEXT NOT NULL UNIQUE,
                     request BLOB NOT NULL);
"""


class SqliteState:
    """Keeps everything in the file `path`: one file for each user of each server, for one client at a time.

    What it has taken survives a kill of the process and a loss of power (WAL, synchronous=FULL). The file
    holds the texts of messages that wait to be sent; only its owner may read it.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._change_no = 0
        self._waiting: list[tuple[Callable[[sqlite3.Connection], None], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"SqliteState({str(self._path)!r})"

    async def open(self, user_id: str) -> StoredState:
        """As in `State`. Raises StateError when a client has the file open, in this process or another."""
        if self._thread is not None:
            raise StateError(f"{self._path} is used by another client: give each client a file of its own")
        if not user_id:
            raise StateError(
                "a SqliteState needs tokens that say whose they are: log in, and pass the Tokens"
            )
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parley state")
        try:
            return await self._in_thread(lambda: self._open(user_id))
        except BaseException:
            await self.close()
            raise

    async def save_position(self, seqs: Mapping[str, int], cursor: str) -> None:
        """As in `State`."""
        rows = list(seqs.items())

        def write(connection: sqlite3.Connection) -> None:
            first = self._change_no + 1
            self._change_no += len(rows)
            connection.executemany(
                "INSERT INTO seqs VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET seq = excluded.seq, change_no = excluded.change_no",
                [(channel_id, seq, change_no) for change_no, (channel_id, seq) in enumerate(rows, first)],
            )
            if cursor:
                connection.execute("UPDATE owner SET cursor = ?", (cursor,))

        await self._write(write)

    async def add_message(self, request: message_requests_pb2.SendMessageRequest) -> None:
        """As in `State`."""
        row = (request.client_message_id, request.SerializeToString())

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO outbox (client_message_id, request) VALUES (?, ?) ON CONFLICT DO NOTHING", row
            )

        await self._write(write)

    async def remove_messages(self, client_message_ids: Sequence[str]) -> None:
        """As in `State`."""
        rows = [(client_message_id,) for client_message_id in client_message_ids]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM outbox WHERE client_message_id = ?", rows)

        await self._write(write)

    async def close(self) -> None:
        """As in `State`. What is being written is written first."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown(wait=False)

    def _open(self, user_id: str) -> StoredState:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection = connection = sqlite3.connect(
            self._path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
        )
        # Held until closing, by this process alone: two clients on one position would both lose events.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise StateError(f"{self._path} was written by a newer version of this package: use that one")
        if version == 0:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            connection.execute("INSERT INTO owner VALUES (1, ?, '')", (user_id,))
        owner_id, cursor = connection.execute("SELECT user_id, cursor FROM owner").fetchone()
        if owner_id != user_id:
            raise StateError(f"{self._path} is of user {owner_id}, not of {user_id}: use another file")
        seqs = dict(connection.execute("SELECT channel_id, seq FROM seqs ORDER BY change_no"))
        (self._change_no,) = connection.execute("SELECT COALESCE(MAX(change_no), 0) FROM seqs").fetchone()
        outbox = [
            message_requests_pb2.SendMessageRequest.FromString(encoded)
            for (encoded,) in connection.execute("SELECT request FROM outbox ORDER BY no")
        ]
        connection.execute("COMMIT")
        return StoredState(cursor, seqs, outbox)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _write(self, write: Callable[[sqlite3.Connection], None]) -> None:
        """Wait until the write is on disk. Writes that come together become one transaction."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((write, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="parley state writer")
        await future

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                failure: BaseException | None = None
                try:
                    await self._in_thread(partial(self._commit, [write for write, _ in batch]))
                except StateError as error:
                    failure = error
                for _, future in batch:
                    if not future.done():
                        if failure is None:
                            future.set_result(None)
                        else:
                            future.set_exception(failure)
        finally:
            self._writing = None

    def _commit(self, writes: list[Callable[[sqlite3.Connection], None]]) -> None:
        connection = self._connection
        if connection is None:
            raise StateError(f"{self._path} is closed")
        connection.execute("BEGIN IMMEDIATE")
        try:
            for write in writes:
                write(connection)
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        if self._thread is None:
            raise StateError(f"{self._path} is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise StateError(
                    f"{self._path} is used by another program: give each client a file of its own"
                ) from None
            raise StateError(f"{self._path}: {error}") from error
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"{self._path}: {error}") from error
