"""Projections rebuilt from the logs are what they were, row for row."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.positions import SqlitePositions
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.backends.sqlite.rebuild import rebuild
from parley_server.backends.sqlite.schema import PROJECTED_TABLES
from parley_server.backends.sqlite.writer import Write
from parley_server.chat import codec
from parley_server.chat.activation import ActivationLimits, catch_up
from parley_server.chat.event import ChannelDeleted, ChannelKind, MessageDeleted, MessagePosted
from parley_server.chat.message_view import erased
from parley_server.ports.message_log import StoreUnavailable
from parley_server.ports.positions import ReadMark
from parley_server.testing.channel_histories import history, random_steps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import apsw

    from parley_server.chat.event import Event

OTHER_TABLES = (
    "channel_key",
    "log_message",
    "log_other",
    "log_head",
    "active_channel",
    "read_mark",
    "device_cursor",
    "mute",
)


def histories(seed: int) -> dict[str, list[Event]]:
    """A dozen channels of both kinds in which everything happens."""
    chooser = random.Random(seed)
    return {
        name: history(
            name, random_steps(chooser, 200), kind=ChannelKind.DIRECT if n % 4 == 0 else ChannelKind.GROUP
        )
        for n, name in enumerate(f"channel {number:02}" for number in range(12))
    }


async def live(database: ChatDatabase, logs: dict[str, list[Event]], chooser: random.Random) -> None:
    """Have the logs happen as on a busy node: appended and applied bit by bit, deleted text emptied."""
    log, projections = SqliteMessageLog(database), SqliteProjections(database)
    done = dict.fromkeys(logs, 0)
    while left := [name for name, events in logs.items() if done[name] < len(events)]:
        name = chooser.choice(left)
        events = logs[name][done[name] : done[name] + chooser.randint(1, 9)]
        await log.append(name, done[name], [codec.row_of(event) for event in events], chooser.randbytes(16))
        await projections.apply(name, events)
        done[name] += len(events)
        for event in events:
            if isinstance(event.body, MessageDeleted):
                seq = event.body.target_seq
                rows = await log.pick(name, (seq, *await projections.edits_of(name, seq)))
                await log.erase(name, [replace(row, event=erased(row.event)) for row in rows])
        if chooser.random() < 0.2:
            await log.mark_fanned(name, done[name])
            await log.mark_active(1, 5, name)
    await SqlitePositions(database).mark_read("ann", "channel 03", ReadMark(2, 1))


class Spoil(Write[None, None]):
    """Wrong rows in every projected table, as a bug of an older version might have left them."""

    def run(self, connection: apsw.Connection, requests: Sequence[None]) -> list[Exception | None]:
        for name in PROJECTED_TABLES:
            row: list[Any] = [*next(connection.execute(f"SELECT * FROM {name} LIMIT 1"))]
            row[0] = (
                "ghost" if isinstance(row[0], str) else b"ghost" if isinstance(row[0], bytes) else 1 << 50
            )
            places = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {name} VALUES ({places})", row)
        return [None] * len(requests)


def tables(connection: apsw.Connection, *, projected: bool) -> dict[str, list[Any]]:
    """Every row of the projected tables, or of the others, in the order of their columns."""
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    names = [name for (name,) in found if (name not in OTHER_TABLES) is projected]
    return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in names}


async def projected_tables(database: ChatDatabase) -> dict[str, list[Any]]:
    """Every row of the projected tables."""
    return await database.read(lambda connection: tables(connection, projected=True))


async def other_tables(database: ChatDatabase) -> dict[str, list[Any]]:
    """Every row of the logs and positions."""
    return await database.read(lambda connection: tables(connection, projected=False))


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_projected_table_is_the_same_after_rebuilding(tmp_path: Path, seed: int) -> None:
    """Caught when a table was left out of those that are cleared (`message_reply`): what a bug had left there
    stayed; and when an edit that erasing had emptied was not counted.
    """
    database = await ChatDatabase.open(tmp_path / "chat.db")
    try:
        logs = histories(seed)
        await live(database, logs, random.Random(seed))
        before = await projected_tables(database)
        assert set(before) == set(PROJECTED_TABLES)
        assert all(before.values()), "a table that is empty proves nothing"
        others = await other_tables(database)
        await database.write(Spoil(), None)
        assert await projected_tables(database) != before
        reported: list[tuple[int, int]] = []
        await rebuild(
            SqliteMessageLog(database),
            SqliteProjections(database),
            progress=lambda done, total: reported.append((done, total)),
        )
        assert await projected_tables(database) == before
        assert await other_tables(database) == others
        assert reported == [(done, 12) for done in range(13)]
    finally:
        await database.close()


async def test_a_rebuild_that_was_interrupted_is_finished_by_catching_up(tmp_path: Path) -> None:
    """As a node does at its start, and after the process was gone. Caught when watermarks were kept."""
    database = await ChatDatabase.open(tmp_path / "chat.db")
    await live(database, histories(3), random.Random(3))
    before = await projected_tables(database)

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyError("planted")

    with pytest.raises(KeyError):
        await rebuild(SqliteMessageLog(database), SqliteProjections(database), progress=interrupt)
    await database.close()
    database = await ChatDatabase.open(tmp_path / "chat.db")
    try:
        log, projections = SqliteMessageLog(database), SqliteProjections(database)
        behind = await projections.behind(limit=99)
        assert len(behind) == 7
        for channel_id in behind:
            await catch_up(channel_id, log, projections, ActivationLimits())
        assert await projected_tables(database) == before
    finally:
        await database.close()


async def test_whoever_applied_before_goes_on_after_a_rebuild(tmp_path: Path) -> None:
    """Caught when the cached watermarks outlived the rows: the next message moved a head that was gone."""
    database = await ChatDatabase.open(tmp_path / "chat.db")
    try:
        logs = histories(4)
        await live(database, logs, random.Random(4))
        log, projections = SqliteMessageLog(database), SqliteProjections(database)
        await rebuild(log, projections, progress=lambda _done, _total: None)
        name, events = next((name, events) for name, events in logs.items() if _goes_on(events))
        last = events[-1]
        after = replace(last, seq=last.seq + 1, message_no=last.message_no + 1, body=MessagePosted("more"))
        await projections.apply(name, [after])
        await projections.clear()
        with pytest.raises(ValueError):
            await projections.apply(name, [replace(after, seq=after.seq + 1)])
        assert await projections.watermark(name) == 0
    finally:
        await database.close()


async def test_rebuilding_needs_the_store(tmp_path: Path) -> None:
    database = await ChatDatabase.open(tmp_path / "chat.db")
    await database.close()
    with pytest.raises(StoreUnavailable):
        await rebuild(
            SqliteMessageLog(database), SqliteProjections(database), progress=lambda _done, _total: None
        )


def _goes_on(events: list[Event]) -> bool:
    return not isinstance(events[-1].body, ChannelDeleted)
