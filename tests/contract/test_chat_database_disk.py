"""The disk under the embedded database: what is synced before an answer, and what a failing disk costs."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import apsw
import pytest

from parley_runtime import disk_full
from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.positions import SqlitePositions
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.backends.sqlite.writer import Write
from parley_server.ports.message_log import Committed, NotWritten, StoreUnavailable, Unknown
from parley_server.ports.positions import ReadMark
from parley_server.testing.message_log_suite import batch_id, rows
from parley_server.testing.projected_log import LogWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


class FailingFile(apsw.VFSFile):
    def __init__(self, system: FailingDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(system.base, name, flags)
        self._system = system

    def xRead(self, amount: int, offset: int) -> bytes:
        if self._system.fail_reads:
            raise apsw.IOError("planted")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._system.full:
            raise apsw.FullError("planted")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if self._system.fail_syncs:
            raise apsw.IOError("planted")
        super().xSync(flags)
        self._system.on_sync()


class FailingDisk(apsw.VFS):
    """The default file system, failing on demand."""

    def __init__(self) -> None:
        self.base = apsw.vfs_names()[0]
        self.fail_reads = self.full = self.fail_syncs = False
        self.on_sync: Callable[[], object] = int
        super().__init__("failing", self.base, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return FailingFile(self, name, flags)


@pytest.fixture
def disk() -> Iterator[FailingDisk]:
    system = FailingDisk()
    yield system
    system.unregister()


async def test_durable_settings_hold(tmp_path: Path) -> None:
    database = await ChatDatabase.open(tmp_path / "chat.db")
    try:
        assert await database.read(lambda connection: connection.pragma("journal_mode")) == "wal"

        class Synchronous(Write[None, int]):
            def run(self, connection: apsw.Connection, requests: Sequence[None]) -> list[int | Exception]:
                return [connection.pragma("synchronous") for _ in requests]

        class Lazy(Synchronous):
            durable = False

        # FULL is 2, NORMAL is 1. A durable request decides for all that share its transaction.
        assert await database.write(Lazy(), None) == 1
        assert await database.write(Synchronous(), None) == 2
        together = [database.write(kind(), None) for kind in (Lazy, Synchronous, Lazy)]
        assert await asyncio.gather(*together) == [2, 2, 2]
    finally:
        await database.close()


async def test_an_answer_waits_for_its_sync_and_a_lazy_one_is_synced_when_nothing_else_comes(
    tmp_path: Path, disk: FailingDisk
) -> None:
    """Caught when lazy commits were left to the next durable one: the last of the day was never synced."""
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log, projections = SqliteMessageLog(database), SqliteProjections(database)
    loop = asyncio.get_running_loop()
    synced = asyncio.Event()
    disk.on_sync = lambda: loop.call_soon_threadsafe(synced.set)
    try:
        await log.append("a", 0, rows(1, 1), batch_id(1))
        assert synced.is_set()
        synced.clear()
        await projections.apply("a", LogWriter("a").events)
        async with asyncio.timeout(20):
            await synced.wait()
    finally:
        await database.close()


async def test_a_full_disk_refuses_and_nothing_is_written(
    tmp_path: Path, disk: FailingDisk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an expected failure: the callers are told the cause, and the log says it once, without a
    traceback. Planted: logged as any other failure; each transaction cost a traceback.
    """
    monkeypatch.setattr(disk_full, "_line", disk_full.RareLine(disk_full.SAID_EVERY_SECONDS))
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log, positions = SqliteMessageLog(database), SqlitePositions(database)
    try:
        assert await log.append("a", 0, rows(1, 1), batch_id(1)) == Committed()
        disk.full = True
        for _ in range(8):
            assert await log.append("a", 1, rows(2, 2), batch_id(2)) == NotWritten(disk_full.DISK_FULL)
        with pytest.raises(StoreUnavailable, match=disk_full.DISK_FULL):
            await positions.mark_read("ann", "a", ReadMark(1, 1))
        (record,) = caplog.records
        assert record.getMessage().startswith(disk_full.DISK_FULL)
        assert (record.levelname, record.exc_info) == ("ERROR", None)
        assert await log.head("a") == 1
        disk.full = False
        assert await log.append("a", 1, rows(2, 2), batch_id(3)) == Committed()
        assert await log.batch_at("a", 2) == batch_id(3)
    finally:
        await database.close()


async def test_an_append_whose_sync_failed_is_unknown_until_it_is_settled(
    tmp_path: Path, disk: FailingDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """Caught when every failure was answered NotWritten: the files, as they were then, held the rows.

    The log says that it may be. Planted: said beside the fields, where no line shows it.
    """
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log = SqliteMessageLog(database)
    try:
        assert await log.append("a", 0, rows(1, 1), batch_id(1)) == Committed()
        disk.fail_syncs = True
        result = await log.append("a", 1, rows(2, 2), batch_id(2))
        assert isinstance(result, Unknown)
        assert not isinstance(result, NotWritten)
        (record,) = caplog.records
        assert vars(record)["fields"] == {"may_be_written": True}
        (tmp_path / "killed").mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / f"chat.db{suffix}", tmp_path / "killed" / f"chat.db{suffix}")
        disk.fail_syncs = False
        # Not seen now; and a later append at the same head settles it for ever.
        assert await log.head("a") == 1
        assert await log.append("a", 1, rows(2, 3), batch_id(3)) == Committed()
        assert await log.batch_at("a", 2) == batch_id(3)
        killed = await ChatDatabase.open(tmp_path / "killed" / "chat.db")
        assert await SqliteMessageLog(killed).batch_at("a", 2) == batch_id(2)
        await killed.close()
    finally:
        await database.close()
    database = await ChatDatabase.open(tmp_path / "chat.db")
    assert await SqliteMessageLog(database).batch_at("a", 2) == batch_id(3)
    await database.close()


async def test_failing_reads_are_the_store_being_unavailable(tmp_path: Path, disk: FailingDisk) -> None:
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log = SqliteMessageLog(database)
    try:
        await log.append("a", 0, rows(1, 1), batch_id(1))
        disk.fail_reads = True
        for call in (log.head("a"), log.batch_at("a", 1), log.fanned("a"), log.active(1, 1)):
            with pytest.raises(StoreUnavailable):
                await call
        disk.fail_reads = False
        assert await log.head("a") == 1
    finally:
        await database.close()
