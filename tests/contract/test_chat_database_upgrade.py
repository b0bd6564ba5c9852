"""Files of older versions are brought up to date, with all that is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.backends.sqlite.rebuild import rebuild
from parley_server.backends.sqlite.schema import APPLICATION_ID, MIGRATIONS, VERSION
from parley_server.chat import codec
from parley_server.chat.event import ChannelDeleted, MessageEdited, PinChanged
from parley_server.ports.message_log import Committed
from parley_server.testing.message_log_suite import batch_id
from parley_server.testing.projected_log import LogWriter
from parley_server.testing.projections_suite import assert_says

if TYPE_CHECKING:
    from pathlib import Path


def write_version_1(path: Path, log: LogWriter) -> None:
    """A file as the first release left it: one channel, of which bob is a member and ann a former one."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.execute(MIGRATIONS[0])
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", 1)
    with connection:
        connection.execute("INSERT INTO channel_key VALUES (1, ?)", (log.channel_id,))
        for event in log.events:
            row = codec.row_of(event)
            table = "log_message" if row.is_message else "log_other"
            connection.execute(
                f"INSERT INTO {table} VALUES (?, ?, ?, ?)",
                ((1 << 32) + row.seq, row.digest, batch_id(1), row.event),
            )
        last = log.events[-1]
        connection.execute("INSERT INTO log_head VALUES (1, ?, ?)", (last.seq, last.seq))
        connection.execute(
            "INSERT INTO projected_head VALUES (1, ?, ?, ?, 4, 1)",
            (last.seq, last.message_no, last.create_time_ms),
        )
        settings, made = log.settings, log.events[0]
        connection.execute(
            "INSERT INTO projected_channel VALUES (1, ?, ?, ?, ?, 'ann', ?)",
            (
                settings.kind,
                settings.title,
                settings.history_visibility,
                settings.member_limit,
                made.create_time_ms,
            ),
        )
        connection.execute("INSERT INTO member VALUES (1, 'ann', NULL, 2, 0, '[[1, 5]]')")
        connection.execute("INSERT INTO member VALUES (1, 'bob', 1, 3, 0, '[[1, null]]')")
    connection.close()


async def test_a_file_of_the_first_version_goes_on(tmp_path: Path) -> None:
    """Caught when the step forgot an index that it replaced: the start screen walked over all members."""
    log = LogWriter("a")
    log.join("ann")
    log.join("bob")
    log.say()
    log.leave("ann")
    write_version_1(tmp_path / "chat.db", log)
    database = await ChatDatabase.open(tmp_path / "chat.db")
    try:
        message_log, projections = SqliteMessageLog(database), SqliteProjections(database)
        assert await database.read(lambda connection: connection.pragma("user_version")) == VERSION
        await assert_says(projections, "a", log.events)
        for event in (
            log.add(PinChanged(4, True, "ann")),
            log.add(MessageEdited(4, "two")),
            log.say(actor_id="bob", client_message_id="id"),
            log.add(ChannelDeleted()),
        ):
            appended = await message_log.append("a", event.seq - 1, [codec.row_of(event)], batch_id(2))
            assert appended == Committed()
            await projections.apply("a", [event])
            await assert_says(projections, "a", log.events[: event.seq])
        await rebuild(message_log, projections, progress=lambda _done, _total: None)
        await assert_says(projections, "a", log.events)
        for sql, index in (
            ("SELECT * FROM member WHERE user_id = 'bob' AND role IS NOT NULL", "member_of"),
            ("SELECT * FROM message_state WHERE pin_seq > 0 AND place BETWEEN 1 AND 9", "message_pinned"),
        ):
            plan = await database.read(_plan, sql)
            assert index in plan
    finally:
        await database.close()


def _plan(connection: apsw.Connection, sql: str) -> str:
    return str(list(connection.execute("EXPLAIN QUERY PLAN " + sql)))
