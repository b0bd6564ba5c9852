"""`chat.db`: logs, projections and positions in one SQLite file, opened through apsw only.

The standard library's sqlite3 must never open this file: two copies of SQLite in one process lose each
other's locks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import apsw

from parley_server.backends.private_file import make_private, tighten
from parley_server.backends.sqlite.readers import Readers
from parley_server.backends.sqlite.schema import APPLICATION_ID, MIGRATIONS, VERSION
from parley_server.backends.sqlite.writer import (
    DURABLE,
    Write,
    Writer,
    WriterClosed,
    WriterFull,
    WriterLimits,
)
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

Request = TypeVar("Request")
Result = TypeVar("Result")

_STATEMENTS_CACHED = 200
_BUSY_MILLISECONDS = 5000


class DatabaseTooNew(Exception):
    """The file was written by a newer Parley, whose tables this one does not know."""


class ForeignDatabase(Exception):
    """The file is a database of another program, or no database at all."""


class ChatDatabase:
    """The open file: one writing thread, a few reading ones. Made by `open`; `close` ends it."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    @classmethod
    async def open(
        cls,
        path: str | PathLike[str],
        *,
        limits: WriterLimits | None = None,
        reader_threads: int = 3,
        limit_waiting_reads: int = 4096,
    ) -> ChatDatabase:
        """Open or make the file and bring its tables up to date. Nobody but its owner may read it then.

        Raises DatabaseTooNew, ForeignDatabase, or StoreUnavailable when the file cannot be opened.
        The caller sees to it that no other process has the file open (see DataFolder).
        """
        name = str(path)
        writer = Writer(lambda: _connect_to_write(name), limits or WriterLimits())
        await writer.open()
        return cls(
            writer,
            Readers(
                lambda: _connect_to_read(name), threads=reader_threads, limit_waiting=limit_waiting_reads
            ),
        )

    async def write(
        self,
        write: Write[Request, Result],
        request: Request,
        *,
        rows: int = 1,
        size_bytes: int = 0,
        sheddable: bool = False,
    ) -> Result:
        """Carry out one write in the next transaction; on return it is visible to every later read, and
        durable if its kind is. A full queue, a closed database and a failed transaction are answered by
        `Write.failed`.
        """
        try:
            future = self._writer.submit(
                write, request, rows=rows, size_bytes=size_bytes, sheddable=sheddable
            )
        except (WriterClosed, WriterFull) as error:
            answer = write.failed(request, str(error), may_be_written=False)
            if isinstance(answer, Exception):
                raise answer from error
            return answer
        return await future

    async def read(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call `function(connection, *arguments)` on a reading thread. Raises StoreUnavailable.

        It sees every write that returned before. Each statement is one snapshot.
        """
        return await self._readers.run(function, *arguments)

    async def compact(self) -> None:
        """Leave nothing in the files of what was overwritten or deleted before this call.

        Writes the whole file anew, for nothing less is enough: where a page was split, copies of its rows
        stay in what is unused of it, whatever `secure_delete` says. Then the write-ahead log is emptied,
        which holds older copies of pages. Takes many seconds per gigabyte, in which reading goes on and
        nothing else is written, and as much free disk as the file has, in the system's folder for temporary
        files and beside the file. Raises StoreUnavailable; the file is as good as before then.
        """
        await self.write(_COMPACT, None)

    async def close(self) -> None:
        """Finish what is queued and close the file. Later calls find the store unavailable. Twice is
        harmless.
        """
        await self._readers.close()
        await self._writer.close()


class _CompactWrite(Write[None, None]):
    alone = True

    def run(self, connection: apsw.Connection, requests: Sequence[None]) -> list[Exception | None]:
        # The copy that is made on the way would not fit into memory.
        connection.pragma("temp_store", "file")
        try:
            connection.execute("VACUUM")
        finally:
            connection.pragma("temp_store", "memory")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return [None] * len(requests)


_COMPACT: Final = _CompactWrite()


def _connect_to_write(path: str) -> apsw.Connection:
    try:
        make_private(path)
        connection = apsw.Connection(path, statementcachesize=_STATEMENTS_CACHED)
        try:
            _prepare(connection, path)
            # Not before: another program's file is left as it is.
            tighten(path)
        except BaseException:
            connection.close()
            raise
    except apsw.NotADBError as error:
        raise ForeignDatabase(
            f"{path} is not a database: move it away or give another data folder"
        ) from error
    except (apsw.Error, OSError) as error:
        raise StoreUnavailable(f"{path} cannot be opened: {error}") from error
    return connection


def _prepare(connection: apsw.Connection, path: str) -> None:
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    version = connection.pragma("user_version")
    application_id = connection.pragma("application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if application_id != APPLICATION_ID and (tables or version):
        raise ForeignDatabase(
            f"{path} is another program's database: move it away or give another data folder"
        )
    if version > VERSION:
        raise DatabaseTooNew(
            f"{path} has tables of version {version}, this Parley knows up to {VERSION}: "
            "start the newer Parley again, or restore the backup made before it"
        )
    # Until the file is in WAL mode it has a rollback journal, which must not come back after a power cut.
    connection.execute("PRAGMA synchronous = EXTRA", can_cache=False)
    connection.pragma("journal_mode", "wal")
    connection.pragma("journal_size_limit", 64 << 20)
    connection.pragma("cache_size", -65536)
    connection.pragma("temp_store", "memory")
    connection.execute(f"PRAGMA synchronous = {DURABLE}", can_cache=False)
    for step in range(version, VERSION):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(MIGRATIONS[step])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {step + 1}")
        connection.execute("COMMIT")


def _connect_to_read(path: str) -> apsw.Connection:
    connection = apsw.Connection(
        path, flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=_STATEMENTS_CACHED
    )
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    connection.pragma("cache_size", -16384)
    connection.pragma("temp_store", "memory")
    connection.pragma("query_only", True)
    return connection
