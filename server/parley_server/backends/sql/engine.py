"""Engines as Parley wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import create_engine, event, make_url

from parley_server.backends.private_file import make_private, tighten

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

THREADS = 4
"""That use one engine at a time, each with a connection of its own: in all, those that read and those that
write."""

BUSY_TIMEOUT_MS = 5000
_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    # FULL: a commit is on the disk before it returns, also when the power goes.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # What is deleted is overwritten, so that nothing of a deleted account can be read in the file.
    "PRAGMA secure_delete = ON",
)


def open_engine(url: str) -> Engine:
    """An engine for the URL. Nobody but its owner may read a SQLite file then: it holds password hashes.

    Raises OSError when the file cannot be made, SQLAlchemy's ArgumentError for a URL that is none.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, pool_size=THREADS)
    if not parsed.database:
        raise ValueError("the accounts need a file: sqlite:///path/to/accounts.db")
    make_private(parsed.database)
    tighten(parsed.database)
    # isolation_level None: the driver begins no transactions behind our back, `_begin` does.
    engine = create_engine(parsed, connect_args={"isolation_level": None}, pool_size=THREADS)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def shown_url(url: str) -> str:
    """The URL for people: without its password."""
    return make_url(url).render_as_string(hide_password=True)


def _set_pragmas(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    try:
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
    finally:
        cursor.close()


def _begin(connection: Connection) -> None:
    # A transaction that will write takes the write lock first: one that read and then wrote could fail
    # half-way.
    writes = connection.get_execution_options().get("parley_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
