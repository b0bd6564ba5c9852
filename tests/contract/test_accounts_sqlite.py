"""SQL accounts on SQLite keep the laws, and what a file needs besides: durability, migrations, clear
errors.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import stat
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, update

from parley_server.backends.sql import engine, migrations
from parley_server.backends.sql.accounts import SqlAccounts
from parley_server.backends.sql.engine import open_engine
from parley_server.backends.sql.migrate import SchemaTooNew, _run_alembic, migrate, newest_revision
from parley_server.backends.sql.schema import metadata, users
from parley_server.ports.accounts import Accounts, Deletion, Relation, RelationAdded, UserAdded
from parley_server.ports.message_log import StoreUnavailable
from parley_server.testing.accounts_contract import AccountsContract
from parley_server.testing.accounts_rows import (
    Reopen,
    add_device,
    add_users,
    device_row,
    live_ids,
    user_row,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Connection


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


class Store:
    """One file, opened as often as a test likes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: list[SqlAccounts] = []

    async def open(self) -> SqlAccounts:
        accounts = await SqlAccounts.open(url_of(self.path))
        self._open.append(accounts)
        return accounts

    async def close(self) -> None:
        for accounts in self._open:
            await accounts.close()
        self._open.clear()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "accounts.db")
    yield store
    await store.close()


class TestSqliteAccounts(AccountsContract):
    @pytest.fixture
    async def accounts(self, store: Store) -> Accounts:
        return await store.open()

    @pytest.fixture
    def reopen(self, store: Store) -> Reopen:
        async def again() -> Accounts:
            await store.close()
            return await store.open()

        return again


async def test_several_openings_of_one_file_agree_on_a_name(store: Store) -> None:
    """The file decides, not a lock of ours. Planted: BEGIN instead of BEGIN IMMEDIATE; found by a locked
    database.
    """
    handles = [await store.open() for _ in range(4)]
    outcomes = await asyncio.gather(
        *(handles[number % 4].add_user(user_row(f"u{number}", "bob"), "") for number in range(60))
    )
    assert outcomes.count(UserAdded.ADDED) == 1
    assert outcomes.count(UserAdded.USERNAME_TAKEN) == 59
    winner = f"u{outcomes.index(UserAdded.ADDED)}"
    added = await asyncio.gather(
        *(
            add_device(handles[number % 4], device_row(f"d{number}", winner), device_limit=3)
            for number in range(40)
        )
    )
    assert all(outcome.added for outcome in added)
    assert len(await live_ids(handles[0], winner)) == 3
    device = replace(device_row((await live_ids(handles[0], winner))[0], winner), version=2)
    renewed = await asyncio.gather(*(handles[number % 4].renew_device(device) for number in range(40)))
    assert renewed.count(True) == 1


async def test_every_connection_is_durable(store: Store) -> None:
    """A commit is on the disk before it returns. Planted: synchronous=NORMAL; found here."""
    accounts = await store.open()

    def pragmas(connection: Connection) -> dict[str, object]:
        return {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }

    for use in (accounts._transaction, accounts._reading):
        assert await use(pragmas) == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_only_the_owner_may_read_the_file(store: Store) -> None:
    """It holds password hashes. Planted: the file left for SQLite to make; found by its mode at the first
    connection. Planted: one that was open to others before left so; found at the second opening.
    """
    first = open_engine(url_of(store.path))
    with first.connect():
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    first.dispose()
    await add_users(await store.open(), "bob")
    for path in store.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    await store.close()
    store.path.chmod(0o644)
    await store.open()
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def described(connection: Connection) -> dict[str, object]:
    """What SQLite has of each table, its columns in any order; and the version."""
    names = inspect(connection).get_table_names()

    def pragma(name: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.exec_driver_sql(f"PRAGMA {name}")]

    tables: dict[str, object] = {
        name: (
            sorted(column[1:] for column in pragma(f"table_info({name})")),
            sorted(
                (*index[1:], *pragma(f"index_info({index[1]})")) for index in pragma(f"index_list({name})")
            ),
            sorted(key[2:] for key in pragma(f"foreign_key_list({name})")),
        )
        for name in names
    }
    version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    return tables | {"version": version}


async def test_migrations_make_the_schema_that_the_code_uses_and_a_new_file_has(tmp_path: Path) -> None:
    """Planted: an index missing in the migration; found as a difference to the code. Planted: a default
    missing in a new file; found as a difference to the migrated one. Planted: its version written wrong;
    found by the second start.
    """
    urls = [url_of(tmp_path / name) for name in ("new.db", "migrated.db")]
    engines = [open_engine(url) for url in urls]
    try:
        await migrate(urls[0])
        await migrate(urls[0])
        with engines[1].execution_options(parley_write=True).begin() as connection:
            _run_alembic(connection, urls[1])
        with engines[0].connect() as new, engines[1].connect() as migrated:
            for connection in (new, migrated):
                assert compare_metadata(MigrationContext.configure(connection), metadata) == []
            assert described(new) == described(migrated)
            assert len(described(new)) == len(metadata.tables) + 2
    finally:
        for engine in engines:
            engine.dispose()


def test_the_newest_revision_is_known_without_alembic() -> None:
    """Planted: a migration under the name of the one before it; found by the two heads."""
    heads = ScriptDirectory(migrations.__path__[0]).get_heads()
    assert [newest_revision()] == heads


async def test_a_schema_that_is_as_it_should_be_needs_no_alembic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes 10 MB of a node's memory for as long as the node lives. Planted: the look at the version left
    out; found by the second start.
    """

    def run_alembic(*_arguments: object) -> None:
        raise AssertionError("Alembic was asked")

    monkeypatch.setattr("parley_server.backends.sql.migrate._run_alembic", run_alembic)
    url = url_of(tmp_path / "accounts.db")
    await migrate(url)
    await migrate(url)


async def test_a_database_of_a_newer_parley_is_left_alone(store: Store) -> None:
    """Planted: the check left out; found by Alembic's own words."""
    await store.open()
    await store.close()
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(SchemaTooNew, match=r"newer Parley: its schema is 9999.*Install the newer version"):
        await store.open()
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


async def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """All of it or nothing. Planted: the migration outside a transaction; found by the users that were
    made.
    """
    path = tmp_path / "accounts.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE devices (x)")
    with pytest.raises(StoreUnavailable, match="devices already exists"):
        await SqlAccounts.open(url_of(path))
    with closing(sqlite3.connect(path)) as connection:
        names = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
    assert names == {"devices"}


async def test_what_was_deleted_is_in_no_file_of_the_store(store: Store) -> None:
    """While the store is open. Planted: what is to be compacted kept in memory only; found after
    reopening.
    """
    accounts = await store.open()
    texts = [f"canary-{number}-" + "x" * 40 for number in range(5)]
    name, display_name, about, device_name, password_hash = texts
    row = replace(user_row("u-bob", name, display_name), about=about)
    assert await accounts.add_user(row, password_hash) is UserAdded.ADDED
    await add_device(accounts, replace(device_row("d1", "u-bob"), device_name=device_name))

    deleted = await accounts.delete_user("u-bob", password_hash=password_hash, now_ms=1)
    assert deleted.outcome is Deletion.DELETED
    await accounts.deletion_finished("u-bob")
    await store.close()
    accounts = await store.open()
    assert await accounts.compact()
    for path in store.path.parent.iterdir():
        content = path.read_bytes().lower()
        assert [text for text in texts if text.encode() in content] == [], path.name
    rewritten = store.path.read_bytes()
    assert not await accounts.compact()
    assert store.path.read_bytes() == rewritten
    assert await accounts.deleting_users(after="", limit=9) == ()


async def test_what_was_overwritten_is_nowhere_once_pages_split_around_it(store: Store) -> None:
    """Where SQLite moved a row from one page to another it may leave a copy, in spite of `secure_delete`: a
    few in a thousand, so there are many. Planted: VACUUM left out; found by copies of 8 users. Planted: the
    checkpoint left out; found in the file, where nothing of the VACUUM had come.
    """
    accounts = await store.open()
    draws = random.Random(1)
    ids = [f"u-{number}" for number in range(600)]

    def text(user_id: str) -> str:
        return f"{draws.randrange(10**6):06}-canary-{user_id}-" + "x" * draws.randrange(900)

    def add(connection: Connection) -> None:
        for user_id in ids:
            row = user_row(user_id, text(user_id), text(user_id))
            connection.execute(insert(users).values(**asdict(row), password_hash="hash"))

    def overwrite(connection: Connection) -> None:
        for user_id in ids[::2]:
            gone = asdict(user_row(user_id, f"gone-{user_id}"))
            connection.execute(update(users).where(users.c.user_id == user_id).values(**gone))

    await accounts._transaction(add)
    await accounts._transaction(overwrite)
    await accounts.delete_user(ids[0], password_hash="hash", now_ms=1)
    await accounts.deletion_finished(ids[0])
    assert await accounts.compact()
    for path in store.path.parent.iterdir():
        content = path.read_bytes().lower()
        assert [user_id for user_id in ids[::2] if f"-canary-{user_id}-".encode() in content] == [], path.name


async def test_the_first_schema_is_brought_to_the_newest_with_all_that_it_holds(store: Store) -> None:
    """Planted: the column added as NOT NULL; found by the users that are there."""
    await add_users(await store.open(), "bob", "carol")
    await store.close()
    with closing(sqlite3.connect(store.path)) as connection:
        connection.executescript(
            "DROP TABLE relations; DROP TABLE deletions; ALTER TABLE users DROP COLUMN delete_time_ms;"
            "UPDATE alembic_version SET version_num = '0001'"
        )
    accounts = await store.open()
    assert {row.user_id for row in await accounts.users(["u-bob", "u-carol"])} == {"u-bob", "u-carol"}
    added = await accounts.add_relation("u-bob", Relation.BLOCK, "u-carol", limit=1, now_ms=1)
    assert added is RelationAdded.ADDED


async def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    """Planted: the driver's error let through; found by its type."""
    path = tmp_path / "accounts.db"
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(StoreUnavailable, match=r"accounts.db cannot be opened: file is not a database"):
        await SqlAccounts.open(url_of(path))
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await SqlAccounts.open(url_of(tmp_path / "no such folder" / "accounts.db"))


async def test_a_store_that_fails_says_so_without_the_values(store: Store) -> None:
    """Planted: the text of SQLAlchemy's error passed on, which quotes the values; found by the password
    hash.
    """
    accounts = await store.open()
    await add_users(accounts, "bob")
    with closing(sqlite3.connect(store.path)) as connection:
        connection.executescript(
            "PRAGMA foreign_keys = OFF; DROP TABLE devices; DROP TABLE relations; DROP TABLE users;"
        )
    for call in (
        accounts.ping(),
        accounts.user("u-bob"),
        accounts.add_user(user_row("u-carol", "carol"), "the-hash"),
        accounts.add_device(device_row("d", "u-bob"), device_limit=1, now_ms=0, forget_before_ms=0),
        accounts.revoked_devices(since_ms=0, access_after_ms=0),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            await call
        assert "the-hash" not in str(caught.value)
        assert "no such table" in str(caught.value)


async def test_a_compaction_that_cannot_write_finds_the_store_unavailable(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VACUUM goes past SQLAlchemy and its errors. Planted: sqlite3's own let through; found by its type."""
    monkeypatch.setattr(engine, "_PRAGMAS", (*engine._PRAGMAS, "PRAGMA busy_timeout = 0"))
    accounts = await store.open()
    await accounts.add_user(user_row("u-bob", "bob"), "hash")
    deleted = await accounts.delete_user("u-bob", password_hash="hash", now_ms=1)
    assert deleted.outcome is Deletion.DELETED
    await accounts.deletion_finished("u-bob")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="cannot be reached: database is locked"):
            await accounts.compact()
    assert await accounts.compact()
