"""A process to be killed: writes through crash_vfs, and reports each commit once it was promised.

    python crash_vfs_writer.py MODE DATABASE

A line `CHANNEL SEQ` on standard output says: this row is durable. Modes:

    raw-full, raw-off    SQLite alone, with synchronous = FULL, or OFF (the planted bug)
    store                the product's commits: message log and projections
    store-off            the same with synchronous = OFF planted
    store-early          the same with the answer given before the commit planted
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from parley_server.backends.sqlite import database as database_module
from parley_server.backends.sqlite import writer as writer_module
from parley_server.backends.sqlite.commits import SqliteCommits
from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.backends.sqlite.writer import Writer
from parley_server.chat.event import ChannelChanged, ChannelKind, Event, HistoryVisibility, MessagePosted
from parley_server.ports.message_log import Committed, Row

if TYPE_CHECKING:
    from collections.abc import Callable

SENDERS = 6
MADE = ChannelChanged(True, ChannelKind.GROUP, "", HistoryVisibility.FROM_START, 9)


def install_crash_vfs() -> object:
    """Load the file system by its path and make it the default."""
    path = Path(__file__).with_name("crash_vfs.py")
    spec = importlib.util.spec_from_file_location("crash_vfs", path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    installed: object = module.install()
    return installed


def report(channel_id: str, seq: int) -> None:
    """Promise a row. One write, so that a kill cannot tear the line."""
    sys.stdout.write(f"{channel_id} {seq}\n")
    sys.stdout.flush()


def write_raw(path: str, synchronous: str) -> None:
    """Commit rows one by one for ever."""
    connection = apsw.Connection(path)
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE row (seq INTEGER PRIMARY KEY, body BLOB)")
    connection.execute(f"PRAGMA synchronous = {synchronous}", can_cache=False)
    connection.execute("PRAGMA wal_autocheckpoint = 50")
    seq = 0
    while True:
        seq += 1
        connection.execute("INSERT INTO row VALUES (?, ?)", (seq, b"%d" % seq * 100))
        report("raw", seq)


def plant_off() -> None:
    """The bug: nothing is ever synced."""
    planted: Any = writer_module
    planted.DURABLE = planted.LAZY = "OFF"
    planted = database_module
    planted.DURABLE = "OFF"


def plant_early_answers() -> None:
    """The bug: appends are answered when they are taken up, before their commit."""
    honest: Callable[[Writer, Any, Any], list[Any]] = Writer._commit

    def commit(self: Writer, connection: apsw.Connection, batch: list[Any]) -> list[Any]:
        if not all(isinstance(job.request[1], int) for job in batch):
            return honest(self, connection, batch)
        self._tell(self._resolve, [(job, Committed()) for job in batch])
        # As slow a disk as it takes for the loop to pass the answers on.
        apsw.sleep(5)
        honest(self, connection, batch)
        return []

    planted: Any = Writer
    planted._commit = commit


async def send(commits: SqliteCommits, channel_id: str) -> None:
    """Commit messages one by one for ever."""
    made = Event(channel_id, 1, 0, 1, "ann", "", b"", MADE)
    await commits.commit(channel_id, 0, [Row(1, False, b"", b"1")], [made], bytes(16))
    seq = 1
    while True:
        seq += 1
        row = Row(seq, True, b"d" * 32, f"{channel_id} {seq}".encode() * 20)
        event = Event(channel_id, seq, seq - 1, 1, "ann", f"id {seq}", b"d" * 32, MessagePosted("hi"))
        result = await commits.commit(channel_id, seq - 1, [row], [event], bytes(16))
        if not isinstance(result, Committed):
            raise RuntimeError(f"{result}")
        report(channel_id, seq)


async def write_store(path: str) -> None:
    """Several senders, each on a channel of its own."""
    database = await ChatDatabase.open(path)
    commits = SqliteCommits(database, SqliteMessageLog(database), SqliteProjections(database))
    await asyncio.gather(*(send(commits, f"channel{number}") for number in range(SENDERS)))


def main() -> None:
    mode, path = sys.argv[1:]
    # Held here: a file system that is collected is gone.
    file_system = install_crash_vfs()
    # Checkpoints often enough that kills fall into them.
    planted: Any = writer_module
    planted.CHECKPOINT_PAGES = 50
    if mode == "raw-full":
        write_raw(path, "FULL")
    elif mode == "raw-off":
        write_raw(path, "OFF")
    else:
        if mode == "store-off":
            plant_off()
        if mode == "store-early":
            plant_early_answers()
        asyncio.run(write_store(path))
    raise AssertionError(f"{file_system} ended by itself")


if __name__ == "__main__":
    main()
