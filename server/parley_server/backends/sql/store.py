"""A SQL database that is opened, read and written in one way."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from parley_server.backends.sql.engine import open_engine, shown_url
from parley_server.backends.sql.migrate import migrate
from parley_server.backends.sql.schema import users
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from sqlalchemy import Row, Select
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

IDS_PER_STATEMENT = 500
"""Below the number of parameters that any SQLite or PostgreSQL driver takes in one statement."""


class SqlStore:
    """The engine of a SQL database, and the two ways to use it. Open it with `open`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(parley_write=True)
        # SQLite takes one writer at a time and makes others wait by polling: queueing here is fair and quick.
        serial = engine.dialect.name == "sqlite"
        self._writing: contextlib.AbstractAsyncContextManager[Any] = (
            asyncio.Lock() if serial else contextlib.nullcontext()
        )
        self._closed = False

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open the database, made or brought to the newest schema if need be:
        `sqlite+aiosqlite:///path/accounts.db`.

        Raises SchemaTooNew when a newer Parley wrote it, StoreUnavailable when it cannot be opened.
        """
        try:
            await migrate(url)
            return cls(open_engine(url))
        except (DBAPIError, OSError) as error:
            raise StoreUnavailable(f"{shown_url(url)} cannot be opened: {_cause(error)}") from error

    async def close(self) -> None:
        """Close all connections. Every later call raises StoreUnavailable."""
        self._closed = True
        await self._engine.dispose()

    async def ping(self) -> None:
        await self._rows(select(users.c.user_id).limit(1))

    async def _rewrite(self) -> None:
        """Leave nothing in the files of what was overwritten or deleted before. PostgreSQL vacuums by itself.

        Nothing less than writing the file anew is enough: where a page was split, copies of its rows stay in
        what is unused of it, whatever `secure_delete` says. The write-ahead log has older copies of pages.
        """
        if self._engine.dialect.name != "sqlite":
            return
        with self._unavailable():
            async with self._writing, self._engine.connect() as connection:
                raw = await connection.get_raw_connection()
                driver: Any = raw.driver_connection
                await driver.execute_fetchall("VACUUM")
                ((busy, _, _),) = await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
                if busy:
                    raise StoreUnavailable(
                        "the write-ahead log of the accounts is being read: try again later"
                    )

    async def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        async with self._read() as connection:
            rows: Sequence[Row[Any]] = (await connection.execute(query)).all()
            return rows

    @contextlib.asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncConnection]:
        with self._unavailable():
            async with self._engine.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that is committed, durably, when the block ends without an error."""
        with self._unavailable():
            async with self._writing, self._writer.begin() as connection:
                yield connection

    @contextlib.contextmanager
    def _unavailable(self) -> Iterator[None]:
        """Turn the failures of a store into StoreUnavailable. Defects of ours, wrong SQL say, stay what
        they are.
        """
        if self._closed:
            raise StoreUnavailable("the accounts are closed")
        try:
            yield
        except (IntegrityError, ProgrammingError, DataError, NotSupportedError):
            raise
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            raise StoreUnavailable(f"the accounts cannot be reached: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    # The driver's own words: SQLAlchemy's would quote the statement with its values.
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)
