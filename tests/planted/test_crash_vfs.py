"""Kill -9 as a power cut: what SQLite and our store promised must be there, and planted bugs must show."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.projections import SqliteProjections

WRITER = Path(__file__).with_name("crash_vfs_writer.py")


def kill_while_writing(mode: str, path: Path, seed: int) -> dict[str, int]:
    """Run the writer, kill it after a random number of promises; the newest seq promised per channel."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, str(WRITER), mode, str(path)], stdout=subprocess.PIPE, env=environment, text=True
    )
    promised: dict[str, int] = {}
    with process:
        if process.stdout is None:
            raise AssertionError
        left = random.Random(seed).randint(200, 900)
        for line in process.stdout:
            channel_id, seq = line.split()
            promised[channel_id] = int(seq)
            left -= 1
            if left == 0:
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "the writer ended before it was killed"
    assert promised
    return promised


def integrity(path: Path) -> str:
    """SQLite's own judgement of the file, recovered from whatever the kill left."""
    connection = apsw.Connection(str(path))
    try:
        return str(connection.execute("PRAGMA integrity_check").get)
    finally:
        connection.close()


async def missing(path: Path, promised: dict[str, int]) -> int:
    """How many promised rows are not in the store that is opened after the kill."""
    database = await ChatDatabase.open(path)
    try:
        log = SqliteMessageLog(database)
        count = 0
        for channel_id, seq in promised.items():
            page = await log.read(channel_id, 1, seq, limit=1 << 20, limit_bytes=1 << 30)
            assert [row.seq for row in page.rows] == list(range(1, min(page.head, seq) + 1))
            for row in page.rows[1:]:
                assert row.event == f"{channel_id} {row.seq}".encode() * 20
            count += max(0, seq - page.head)
        return count
    finally:
        await database.close()


def raw_rows(path: Path) -> int:
    """How many rows the raw writer's table holds after the kill; 0 if even the table is gone."""
    connection = apsw.Connection(str(path))
    try:
        if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'row'").get:
            return 0
        bodies = list(connection.execute("SELECT seq, body FROM row ORDER BY seq"))
    finally:
        connection.close()
    assert bodies == [(seq, b"%d" % seq * 100) for seq in range(1, len(bodies) + 1)]
    return len(bodies)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_commit_synced_by_sqlite_survives_the_kill(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "raw.db"
    promised = kill_while_writing("raw-full", path, seed)
    assert raw_rows(path) >= promised["raw"]
    assert integrity(path) == "ok"


def test_the_kill_takes_what_was_not_synced(tmp_path: Path) -> None:
    """The planted bug that a plain kill -9 does not catch: with synchronous = OFF rows are lost."""
    path = tmp_path / "raw.db"
    promised = kill_while_writing("raw-off", path, 1)
    assert raw_rows(path) < promised["raw"]
    assert integrity(path) == "ok"


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_every_append_that_was_answered_survives_the_kill(tmp_path: Path, seed: int) -> None:
    """And projections that the kill took are named, so that they are applied again."""
    path = tmp_path / "chat.db"
    promised = kill_while_writing("store", path, seed)
    assert len(promised) > 1
    assert await missing(path, promised) == 0
    database = await ChatDatabase.open(path)
    try:
        log, projections = SqliteMessageLog(database), SqliteProjections(database)
        behind = await projections.behind(limit=100)
        for channel_id in promised:
            watermark, head = await projections.watermark(channel_id), await log.head(channel_id)
            assert watermark <= head
            assert (channel_id in behind) == (watermark < head)
            for seq in range(2, watermark + 1):
                assert await projections.seqs_of(channel_id, "ann", f"id {seq}") == (seq,)
    finally:
        await database.close()
    assert integrity(path) == "ok"


@pytest.mark.parametrize("mode", ["store-off", "store-early"])
async def test_planted_bugs_of_the_store_are_caught(tmp_path: Path, mode: str) -> None:
    """synchronous = OFF and an answer before the commit: each loses rows that were promised."""
    lost = 0
    for seed in range(5):
        path = tmp_path / f"{seed}.db"
        lost += await missing(path, kill_while_writing(mode, path, seed))
        if lost:
            break
    assert lost
