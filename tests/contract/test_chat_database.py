"""The embedded database itself: files it refuses, full queues and disks, neighbours in a batch, closing."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from parley_server.backends.sqlite.database import ChatDatabase, DatabaseTooNew, ForeignDatabase
from parley_server.backends.sqlite.message_log import SqliteMessageLog, _read
from parley_server.backends.sqlite.positions import SqlitePositions
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.backends.sqlite.schema import VERSION
from parley_server.backends.sqlite.writer import Write, WriterLimits
from parley_server.ports.message_log import Committed, NotWritten, Row, StoreUnavailable, Unknown
from parley_server.ports.positions import ReadMark
from parley_server.testing.message_log_suite import batch_id, row, rows
from parley_server.testing.projected_log import LogWriter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence


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


@contextmanager
def altered(path: Path) -> Iterator[apsw.Connection]:
    """The file, opened past the product."""
    connection = apsw.Connection(str(path))
    try:
        yield connection
    finally:
        connection.close()


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


async def test_close_finishes_what_is_queued_and_then_refuses(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    database = await ChatDatabase.open(path)
    log = SqliteMessageLog(database)
    appends = [asyncio.ensure_future(log.append(f"c{n}", 0, rows(1, 3), batch_id(n))) for n in range(700)]
    await asyncio.sleep(0)
    await asyncio.gather(database.close(), database.close())
    assert all(append.done() for append in appends)
    assert {append.result() for append in appends} == {Committed()}
    assert isinstance(await log.append("a", 0, rows(1, 1), batch_id(1)), NotWritten)
    for call in (log.head("a"), log.mark_fanned("a", 1), SqliteProjections(database).watermark("a")):
        with pytest.raises(StoreUnavailable, match="closed"):
            await call
    database = await ChatDatabase.open(path)
    log = SqliteMessageLog(database)
    assert [await log.head(f"c{n}") for n in range(0, 700, 99)] == [3] * 8
    await database.close()


async def test_a_full_queue_refuses_appends_first(tmp_path: Path) -> None:
    """What was committed can still be projected while new appends are turned away; nothing is half done."""
    limits = WriterLimits(queued_rows=10)
    database = await ChatDatabase.open(tmp_path / "chat.db", limits=limits)
    log, projections = SqliteMessageLog(database), SqliteProjections(database)
    try:
        appends = [log.append(f"c{n}", 0, rows(1, 2), batch_id(n)) for n in range(8)]
        applied = [projections.apply(f"c{n}", LogWriter(f"c{n}").events) for n in range(15)]
        results = await asyncio.gather(*appends, *applied, return_exceptions=True)
        assert results[:5] == [Committed()] * 5
        assert all(isinstance(result, NotWritten) for result in results[5:8])
        assert results[8:18] == [None] * 10
        assert all(isinstance(result, StoreUnavailable) for result in results[18:])
        assert [await log.head(f"c{n}") for n in range(8)] == [2] * 5 + [0] * 3
        assert await log.append("c7", 0, rows(1, 2), batch_id(7)) == Committed()
    finally:
        await database.close()


async def test_waiting_reads_are_bounded(tmp_path: Path) -> None:
    database = await ChatDatabase.open(tmp_path / "chat.db", reader_threads=1, limit_waiting_reads=3)
    log = SqliteMessageLog(database)
    try:
        results = await asyncio.gather(*(log.head("a") for _ in range(5)), return_exceptions=True)
        assert results[:3] == [0, 0, 0]
        assert all(isinstance(result, StoreUnavailable) for result in results[3:])
        assert await log.head("a") == 0
    finally:
        await database.close()


@pytest.fixture(params=[0o000, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


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


@pytest.mark.parametrize("error", [RuntimeError("planted"), apsw.ConstraintError("planted")])
async def test_a_broken_request_does_not_harm_its_batch(tmp_path: Path, error: Exception) -> None:
    """Caught when the batch was given up as a whole: every append beside the broken request failed."""

    class Broken(Write[bool, object]):
        def run(self, connection: apsw.Connection, requests: Sequence[bool]) -> list[object]:
            connection.execute("INSERT INTO channel_key (channel_id) VALUES ('left behind')")
            if any(requests):
                raise error
            connection.execute("DELETE FROM channel_key WHERE channel_id = 'left behind'")
            return ["done"] * len(requests)

    database = await ChatDatabase.open(tmp_path / "chat.db")
    log, positions, broken = SqliteMessageLog(database), SqlitePositions(database), Broken()
    try:
        requests: list[Awaitable[object]] = [
            log.append("a", 0, rows(1, 2), batch_id(1)),
            database.write(broken, False),
            log.append("a", 2, rows(3, 3), batch_id(2)),
            database.write(broken, True),
            log.append("b", 0, rows(1, 1), batch_id(3)),
            positions.mark_read("ann", "a", ReadMark(1, 1)),
        ]
        results = await asyncio.gather(*requests, return_exceptions=True)
        assert results[:3] == [Committed(), "done", Committed()]
        assert isinstance(results[3], RuntimeError | StoreUnavailable)
        assert results[4:] == [Committed(), ReadMark(1, 1)]
        assert [await log.head(name) for name in ("a", "b", "left behind")] == [3, 1, 0]

        def left_behind(connection: apsw.Connection) -> object:
            return connection.execute("SELECT count(*) FROM channel_key WHERE channel_id LIKE 'left%'").get

        assert await database.read(left_behind) == 0
    finally:
        await database.close()


async def test_a_full_disk_refuses_and_nothing_is_written(tmp_path: Path, disk: FailingDisk) -> None:
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log, positions = SqliteMessageLog(database), SqlitePositions(database)
    try:
        assert await log.append("a", 0, rows(1, 1), batch_id(1)) == Committed()
        disk.full = True
        assert isinstance(await log.append("a", 1, rows(2, 2), batch_id(2)), NotWritten)
        with pytest.raises(StoreUnavailable):
            await positions.mark_read("ann", "a", ReadMark(1, 1))
        assert await log.head("a") == 1
        disk.full = False
        assert await log.append("a", 1, rows(2, 2), batch_id(3)) == Committed()
        assert await log.batch_at("a", 2) == batch_id(3)
    finally:
        await database.close()


async def test_an_append_whose_sync_failed_is_unknown_until_it_is_settled(
    tmp_path: Path, disk: FailingDisk
) -> None:
    """Caught when every failure was answered NotWritten: the files, as they were then, held the rows."""
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log = SqliteMessageLog(database)
    try:
        assert await log.append("a", 0, rows(1, 1), batch_id(1)) == Committed()
        disk.fail_syncs = True
        result = await log.append("a", 1, rows(2, 2), batch_id(2))
        assert isinstance(result, Unknown)
        assert not isinstance(result, NotWritten)
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


async def test_a_caller_who_stops_waiting_does_not_stop_the_write(tmp_path: Path) -> None:
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log = SqliteMessageLog(database)
    try:
        append = asyncio.ensure_future(log.append("a", 0, rows(1, 1), batch_id(1)))
        await asyncio.sleep(0)
        append.cancel()
        assert await log.append("b", 0, rows(1, 1), batch_id(2)) == Committed()
        assert await log.head("a") == 1
    finally:
        await database.close()


async def test_pages_cost_the_same_however_long_the_channel_is(tmp_path: Path) -> None:
    """Counted in SQLite's own instructions, so that no clock has a say.

    Caught when messages were found by walking over other events: the page of a channel that ends in events
    other than messages took as many steps as there were events.
    """
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log = SqliteMessageLog(database)
    try:
        for channel_id, count in (("short", 400), ("long", 40_000), ("sparse", 40_000)):
            for first in range(1, count + 1, 5000):
                batch = [
                    Row(seq, channel_id != "sparse" or seq <= 200, b"", b"x" * 50)
                    for seq in range(first, min(first + 5000, count + 1))
                ]
                assert await log.append(channel_id, first - 1, batch, batch_id(1)) == Committed()

        def instructions(
            connection: apsw.Connection, channel_id: str, newest_first: bool, only_messages: bool
        ) -> int:
            steps = 0

            def count() -> bool:
                nonlocal steps
                steps += 1
                return False

            connection.set_progress_handler(count, 1)
            try:
                page = _read(connection, channel_id, 1, 1 << 40, 50, 1 << 20, newest_first, only_messages)
            finally:
                connection.set_progress_handler(None)
            assert len(page.rows) == 50
            return steps

        for newest_first in (False, True):
            for only_messages in (False, True):
                costs = [
                    await database.read(instructions, channel_id, newest_first, only_messages)
                    for channel_id in ("short", "long", "sparse")
                ]
                assert max(costs) <= min(costs) * 1.2, (newest_first, only_messages, costs)
    finally:
        await database.close()


async def test_a_row_that_is_already_there_is_never_replaced(tmp_path: Path) -> None:
    """The last line of defence: even with a cached head gone wrong the tables compare again."""
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log = SqliteMessageLog(database)
    try:
        await log.append("a", 0, rows(1, 2), batch_id(1))
        log.append_write._logs["a"].head = 1
        assert await log.append("a", 1, [row(2, event=b"other")], batch_id(2)) != Committed()
        page = await log.read("a", 1, 9, limit=9, limit_bytes=999)
        assert page.rows == tuple(rows(1, 2))
        assert await log.append("a", 2, rows(3, 3), batch_id(3)) == Committed()
    finally:
        await database.close()
