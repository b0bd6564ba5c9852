"""What was erased is gone from the files of `chat.db` once it was compacted."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import apsw
import pytest
from msgspec.structs import replace

from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.chat.event import ChannelDeleted, ReactionChanged
from parley_server.ports.message_log import Committed, Row, StoreUnavailable
from parley_server.testing.message_log_suite import batch_id, row, rows
from parley_server.testing.projected_log import LogWriter

if TYPE_CHECKING:
    from pathlib import Path

CANARY = b"canary"


def found(folder: Path) -> dict[str, int]:
    """How often the canary is in each of the database's files."""
    return {path.name: path.read_bytes().count(CANARY) for path in folder.glob("chat.db*")}


async def fill(log: SqliteMessageLog, chooser: random.Random) -> dict[str, list[Row]]:
    """Write channels side by side, so that pages are split and rows moved. The rows with the canary."""
    heads = dict.fromkeys((f"channel {number}" for number in range(40)), 0)
    canaries: dict[str, list[Row]] = {name: [] for name in heads}

    async def append(name: str) -> None:
        batch = []
        for seq in range(heads[name] + 1, heads[name] + chooser.randint(2, 6)):
            words = CANARY if chooser.random() < 0.3 else b"harmless"
            # Some fit a page many times, some fill one, some need many.
            length = chooser.choice([10, 60, 200, 200, 900, 3900, 4100, 30_000])
            batch.append(
                row(seq, is_message=chooser.random() < 0.8, event=words * (length // len(words) + 1))
            )
        expected_head, heads[name] = heads[name], batch[-1].seq
        canaries[name] += [known for known in batch if CANARY in known.event]
        assert await log.append(name, expected_head, batch, os.urandom(16)) == Committed()

    for _ in range(40):
        await asyncio.gather(*(append(name) for name in chooser.sample(list(heads), 20)))
    return canaries


@pytest.mark.parametrize("seed", [1, 2])
async def test_erased_text_is_gone_from_all_files_after_compaction(tmp_path: Path, seed: int) -> None:
    """Caught when the log was only emptied by a checkpoint, with `secure_delete` on for every write: pages
    that had been split kept copies of rows in what is unused of them.
    """
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log = SqliteMessageLog(database)
    try:
        chooser = random.Random(seed)
        canaries = await fill(log, chooser)
        assert found(tmp_path)["chat.db"] + found(tmp_path)["chat.db-wal"] > 1000
        for name, erased in canaries.items():
            await log.erase(name, [replace(known, event=b"erased") for known in erased])
        await log.compact()
        assert set(found(tmp_path)) == {"chat.db", "chat.db-wal", "chat.db-shm"}
        assert sum(found(tmp_path).values()) == 0
        for name, erased in canaries.items():
            now = await log.pick(name, [known.seq for known in erased])
            assert {known.event for known in now} <= {b"erased"}
            assert len(now) == len(erased)
        assert await database.read(lambda reader: reader.pragma("integrity_check")) == "ok"
    finally:
        await database.close()
    assert sum(found(tmp_path).values()) == 0


async def test_most_of_it_is_gone_at_once(tmp_path: Path) -> None:
    """Erasing zeroes what it overwrites, pages that become free too: before the next compaction little is
    left. Caught when `secure_delete` was left off: all of it was.
    """
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log = SqliteMessageLog(database)
    try:
        texts = [row(seq, event=CANARY * 2000) for seq in range(1, 40)]
        await log.append("a", 0, texts, batch_id(1))
        await log.erase("a", [replace(known, event=b"") for known in texts])
        await database.close()
        assert found(tmp_path)["chat.db"] < 0.01 * 2000 * len(texts)
    finally:
        await database.close()


async def test_titles_and_reactions_of_a_deleted_channel_go_too(tmp_path: Path) -> None:
    database = await ChatDatabase.open(tmp_path / "chat.db")
    projections = SqliteProjections(database)
    try:
        log = LogWriter(CANARY.decode())
        log.join("ann")
        log.say()
        for number in range(2500):
            log.add(ReactionChanged(3, f"{number}", True, 1), actor_id=CANARY.decode())
        log.add(ChannelDeleted())
        await projections.apply(log.channel_id, log.events)
        await projections.erasure_done(log.channel_id, len(log.events))
        await database.compact()
        # The channel's id stays: its log does.
        assert sum(found(tmp_path).values()) == (await database.read(_mentions_of_the_id))
    finally:
        await database.close()


def _mentions_of_the_id(connection: apsw.Connection) -> int:
    # Once in the table and once in its index.
    return 2 * int(connection.execute("SELECT count(*) FROM channel_key").get)


async def test_reading_and_writing_go_on_while_it_is_compacted(tmp_path: Path) -> None:
    """Caught when compacting ran beside the writes of its batch instead of between two: VACUUM refused."""
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log = SqliteMessageLog(database)
    try:
        await log.append("a", 0, rows(1, 500), batch_id(1))

        async def append() -> None:
            for seq in range(501, 601):
                assert await log.append("a", seq - 1, rows(seq, seq), batch_id(seq)) == Committed()

        async def read() -> None:
            for _ in range(100):
                page = await log.read("a", 1, 1 << 30, limit=1000, limit_bytes=1 << 30)
                assert page.rows == tuple(rows(1, page.head))

        async def compact() -> None:
            for _ in range(10):
                await log.compact()

        await asyncio.gather(append(), read(), compact(), read())
        assert await log.head("a") == 600
    finally:
        await database.close()


async def test_a_compaction_that_fails_says_so_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that holds on to the past keeps the write-ahead log from being emptied. Caught when the
    checkpoint was a passive one, which leaves the log as it is and says nothing.
    """
    monkeypatch.setattr("parley_server.backends.sqlite.database._BUSY_MILLISECONDS", 50)
    database = await ChatDatabase.open(tmp_path / "chat.db")
    log = SqliteMessageLog(database)
    reader = apsw.Connection(str(tmp_path / "chat.db"))
    try:
        await log.append("a", 0, rows(1, 3), batch_id(1))
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM log_head").fetchall()
        await log.append("a", 3, rows(4, 4), batch_id(1))
        with pytest.raises(StoreUnavailable):
            await log.compact()
        assert await log.append("a", 4, rows(5, 5), batch_id(2)) == Committed()
        reader.execute("ROLLBACK")
        await log.compact()
        assert await log.pick("a", range(9)) == tuple(rows(1, 5))
    finally:
        reader.close()
        await database.close()


async def test_a_closed_database_is_not_compacted(tmp_path: Path) -> None:
    database = await ChatDatabase.open(tmp_path / "chat.db")
    await database.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await database.compact()
