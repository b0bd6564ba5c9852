"""A SQL database that is opened, read and written in one way."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from parley_server.backends.sql.engine import THREADS, open_engine, shown_url
from parley_server.backends.sql.migrate import migrate
from parley_server.backends.sql.schema import users
from parley_server.backends.sql.threads import Threads
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from sqlalchemy import Connection, Engine, Row, Select

IDS_PER_STATEMENT = 500
"""Below the number of parameters that any SQLite or PostgreSQL driver takes in one statement."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Store = TypeVar("Store", bound="SqlStore")


class SqlStore:
    """The engine of a SQL database, its threads, and the two ways to use it. Open it with `open`.

    Whatever asks the database is a plain function of a connection and runs on a thread. SQLAlchemy's own way
    of doing so needs its object mapper: 7 MB of every node, and a change of threads for each statement.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(parley_write=True)
        if engine.dialect.name == "sqlite":
            # It takes one writer at a time and makes others wait by polling. Queueing for the only thread
            # that writes is fair and quick, and the next one's turn comes when this one's transaction has
            # ended, whatever became of the caller.
            self._readers, self._writers = Threads(THREADS - 1), Threads(1)
        else:
            self._readers = self._writers = Threads(THREADS)

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open the database, made or brought to the newest schema if need be: `sqlite:///path/accounts.db`.

        Raises SchemaTooNew when a newer Parley wrote it, StoreUnavailable when it cannot be opened.
        """
        try:
            await migrate(url)
            return cls(open_engine(url))
        except (DBAPIError, OSError) as error:
            raise StoreUnavailable(f"{shown_url(url)} cannot be opened: {_cause(error)}") from error

    async def close(self) -> None:
        """Finish the calls that were made and close all connections. Every later one raises
        StoreUnavailable.
        """
        self._readers.refuse()
        self._writers.refuse()
        await asyncio.to_thread(self._close)

    async def ping(self) -> None:
        await self._rows(select(users.c.user_id).limit(1))

    async def _rewrite(self) -> None:
        """Leave nothing in the files of what was overwritten or deleted before. PostgreSQL vacuums by itself.

        Nothing less than writing the file anew is enough: where a page was split, copies of its rows stay in
        what is unused of it, whatever `secure_delete` says. The write-ahead log has older copies of pages.
        """
        if self._engine.dialect.name == "sqlite":
            with _unavailable():
                await self._writers.run(self._write_file_anew)

    async def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return await self._reading(lambda connection: connection.execute(query).all())

    async def _reading(self, work: Callable[[Connection], Result]) -> Result:
        """The result of `work`, which reads, on a thread. Raises StoreUnavailable."""

        def read() -> Result:
            with self._engine.connect() as connection:
                return work(connection)

        with _unavailable():
            return await self._readers.run(read)

    async def _transaction(self, work: Callable[[Connection], Result]) -> Result:
        """The result of `work`, on a thread, in a transaction that is committed, durably, on return. If
        `work` raises nothing of it is done. Raises StoreUnavailable.
        """

        def write() -> Result:
            with self._writer.begin() as connection:
                return work(connection)

        with _unavailable():
            return await self._writers.run(write)

    def _close(self) -> None:
        self._readers.join()
        self._writers.join()
        self._engine.dispose()

    def _write_file_anew(self) -> None:
        with self._engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("VACUUM")
            ((busy, _, _),) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if busy:
            raise StoreUnavailable("the write-ahead log of the accounts is being read: try again later")


def transaction(
    work: Callable[Concatenate[Store, Connection, Arguments], Result],
) -> Callable[Concatenate[Store, Arguments], Coroutine[Any, Any, Result]]:
    """A method that writes, as callers see it: see `SqlStore._transaction`."""

    @functools.wraps(work)
    async def call(store: Store, /, *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        return await store._transaction(lambda connection: work(store, connection, *arguments, **named))

    return call


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    """Turn the failures of a store into StoreUnavailable. Defects of ours, wrong SQL say, stay what they
    are.
    """
    try:
        yield
    except (IntegrityError, ProgrammingError, DataError, NotSupportedError):
        raise
    except (DBAPIError, PoolTimeoutError, OSError, sqlite3.Error) as error:
        # The last is of statements that SQLAlchemy does not see, such as VACUUM.
        raise StoreUnavailable(f"the accounts cannot be reached: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    # The driver's own words: SQLAlchemy's would quote the statement with its values.
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)
