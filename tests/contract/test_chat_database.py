"""The embedded database at work: its queues, neighbours in a batch, its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import apsw
import pytest

from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.message_log import SqliteMessageLog, _read
from parley_server.backends.sqlite.positions import SqlitePositions
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.backends.sqlite.writer import Write, WriterLimits
from parley_server.ports.message_log import Committed, NotWritten, Row, StoreUnavailable
from parley_server.ports.positions import ReadMark
from parley_server.testing.message_log_suite import batch_id, row, rows
from parley_server.testing.projected_log import LogWriter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from pathlib import Path


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
