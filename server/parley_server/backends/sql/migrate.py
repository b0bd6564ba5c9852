"""Bringing a database to the schema that this version of Parley needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, select

from parley_server.backends.sql.engine import open_engine, shown_url
from parley_server.backends.sql.schema import metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection

_MIGRATIONS = Path(__file__).parent / "migrations"
_version_table = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""As Alembic makes it."""


class SchemaTooNew(Exception):
    """The database was written by a newer version of Parley. Nothing was changed. The message says what to
    do.
    """


async def migrate(url: str) -> None:
    """Bring the database to the newest schema, all of it or nothing. What is there already is kept.

    Runs in a thread of its own, so that the event loop goes on. Raises SchemaTooNew, and SQLAlchemy's errors.
    """
    await asyncio.to_thread(_migrate, url)


def _migrate(url: str) -> None:
    engine = open_engine(url)
    try:
        with engine.execution_options(parley_write=True).begin() as connection:
            _upgrade(connection, url)
    finally:
        engine.dispose()


def newest_revision() -> str:
    """The revision that this version needs, by the names of the migrations: `v0002_….py` makes 0002."""
    return max(path.name[1:5] for path in (_MIGRATIONS / "versions").glob("v*.py"))


def _upgrade(connection: Connection, url: str) -> None:
    tables = inspect(connection).get_table_names()
    if not tables:
        # As Alembic's own recipe for a new database: no step has anything to bring along.
        metadata.create_all(connection)
        _version_table.create(connection)
        connection.execute(insert(_version_table).values(version_num=newest_revision()))
        return
    if _version_table.name in tables:
        found = connection.execute(select(_version_table.c.version_num)).scalars().all()
        if found == [newest_revision()]:
            return
    _run_alembic(connection, url)


def _run_alembic(connection: Connection, url: str) -> None:
    # Only here: a node that makes its schema, or finds it as it should be, never needs these, and they take
    # 10 MB and half of the time that importing the node takes.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    found = set(MigrationContext.configure(connection).get_current_heads())
    if not found <= known:
        newer, newest = ", ".join(sorted(found - known)), ", ".join(scripts.get_heads())
        raise SchemaTooNew(
            f"{shown_url(url)} was written by a newer Parley: its schema is {newer}, "
            f"this version knows up to {newest}. Install the newer version again, "
            "or restore a backup made before it."
        )
    if found != set(scripts.get_heads()):
        command.upgrade(config, "head")
