"""The file of the embedded database: whose it is, who may read it, where it is."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from parley_server.backends.sqlite.database import ChatDatabase, DatabaseTooNew, ForeignDatabase
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.schema import VERSION
from parley_server.ports.message_log import StoreUnavailable
from parley_server.testing.message_log_suite import batch_id, rows

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[0o000, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@contextmanager
def altered(path: Path) -> Iterator[apsw.Connection]:
    """The file, opened past the product."""
    connection = apsw.Connection(str(path))
    try:
        yield connection
    finally:
        connection.close()


def modes(path: Path) -> dict[str, int]:
    """Of the file and those beside it, by name."""
    return {beside.name: stat.S_IMODE(beside.stat().st_mode) for beside in path.parent.glob(f"{path.name}*")}


def copy_openly(path: Path, copy: Path) -> None:
    """What a node that is killed leaves, for everybody to read."""
    for ending in ("", "-wal", "-shm"):
        shutil.copyfile(f"{path}{ending}", f"{copy}{ending}")
        Path(f"{copy}{ending}").chmod(0o664)


async def written(path: Path) -> ChatDatabase:
    """Opened, with a message in it."""
    database = await ChatDatabase.open(path)
    await SqliteMessageLog(database).append("c", 0, rows(1, 1), batch_id(1))
    return database


async def test_a_file_of_a_newer_parley_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    await (await ChatDatabase.open(path)).close()
    with altered(path) as connection:
        connection.pragma("user_version", VERSION + 1)
    with pytest.raises(DatabaseTooNew, match=f"version {VERSION + 1}, this Parley knows up to {VERSION}"):
        await ChatDatabase.open(path)
    with altered(path) as connection:
        assert connection.pragma("user_version") == VERSION + 1


async def test_another_programs_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    with altered(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(ForeignDatabase, match="another program's"):
        await ChatDatabase.open(path)
    assert path.read_bytes() == before
    assert modes(path) == {"chat.db": 0o644}
    path.write_bytes(b"this is no database, but long enough to be taken for one" * 100)
    with pytest.raises(ForeignDatabase, match="not a database"):
        await ChatDatabase.open(path)


async def test_nobody_but_the_owner_may_read_the_files(tmp_path: Path, umask: int) -> None:
    """They hold what people wrote. Planted: the file left for SQLite to make; found with an open umask.
    Planted: its mode left to the umask; found with a closed one.
    """
    path = tmp_path / "chat.db"
    database = await written(path)
    try:
        assert modes(path) == dict.fromkeys(("chat.db", "chat.db-wal", "chat.db-shm"), 0o600)
    finally:
        await database.close()


async def test_files_that_were_open_to_others_are_closed_to_them(tmp_path: Path) -> None:
    """Earlier versions made them so, and those beside the file live on when a node is killed. Planted: only
    the file itself tightened, and tightened only when it is made; found at both.
    """
    path, copy = tmp_path / "chat.db", tmp_path / "copy.db"
    database = await written(path)
    try:
        copy_openly(path, copy)
    finally:
        await database.close()
    again = await ChatDatabase.open(copy)
    try:
        assert await SqliteMessageLog(again).head("c") == 1
        assert modes(copy) == dict.fromkeys(("copy.db", "copy.db-wal", "copy.db-shm"), 0o600)
    finally:
        await again.close()


async def test_a_folder_that_is_not_there_is_the_store_being_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await ChatDatabase.open(tmp_path / "missing" / "chat.db")


async def test_a_mode_that_cannot_be_changed_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk that knows none: the node serves, and its operator is told which file is open to whom.

    Planted: no word; an error that ends the start.
    """
    path = tmp_path / "chat.db"
    await (await written(path)).close()
    path.chmod(0o644)

    def refuse(path: str, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "chmod", refuse)
        await (await ChatDatabase.open(path)).close()
    told = {record.getMessage(): record.levelname for record in caplog.records}
    assert told == {"a file stays open to other users": "WARNING"}
    error = "Operation not permitted"
    assert vars(caplog.records[0])["fields"] == {"path": str(path), "mode": "0644", "error": error}
