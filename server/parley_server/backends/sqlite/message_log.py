"""Channel logs in `chat.db`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from parley_server.backends.sqlite.channel_keys import KEY_OF, LARGEST_SEQ, SEQ_BITS, find_key, make_key
from parley_server.backends.sqlite.writer import RowsStatement, Write
from parley_server.ports.message_log import (
    AppendResult,
    Committed,
    Conflict,
    LogPage,
    NotWritten,
    Row,
    Unknown,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from parley_server.backends.sqlite.database import ChatDatabase

ACTIVE_MINUTES_KEPT: Final = 60
_CHANNELS_CACHED: Final = 65_536


class SqliteMessageLog:
    """MessageLog in one file. A channel holds at most 2^32 - 1 events.

    An append waits for the sync of the transaction that carries it and all others that waited with it.
    """

    def __init__(self, database: ChatDatabase) -> None:
        self._database = database
        self.append_write = AppendWrite()
        self._erase = _EraseWrite()
        self._mark_fanned = _MarkFannedWrite()
        self._mark_active = _MarkActiveWrite()

    async def append(
        self, channel_id: str, expected_head: int, rows: Sequence[Row], batch_id: bytes
    ) -> AppendResult:
        """See MessageLog. Raises ValueError when `rows` is empty or not dense from `expected_head + 1`.

        A full queue, a full disk and every failure before COMMIT answer NotWritten: the transaction was
        undone. A failure of COMMIT itself answers Unknown: the log file may already hold the rows, and a
        restart would find them.
        """
        return await self._database.write(
            self.append_write,
            (channel_id, expected_head, rows, batch_id),
            rows=len(rows),
            size_bytes=check_dense(expected_head, rows),
            sheddable=True,
        )

    async def head(self, channel_id: str) -> int:
        """See MessageLog."""
        return await self._database.read(_head, channel_id)

    async def batch_at(self, channel_id: str, seq: int) -> bytes | None:
        """See MessageLog."""
        return await self._database.read(_batch_at, channel_id, seq)

    async def read(
        self,
        channel_id: str,
        from_seq: int,
        to_seq: int,
        *,
        limit: int,
        limit_bytes: int,
        newest_first: bool = False,
        only_messages: bool = False,
    ) -> LogPage:
        """See MessageLog."""
        return await self._database.read(
            _read, channel_id, from_seq, to_seq, limit, limit_bytes, newest_first, only_messages
        )

    async def pick(self, channel_id: str, seqs: Sequence[int]) -> tuple[Row, ...]:
        """See MessageLog."""
        return await self._database.read(_pick, channel_id, seqs)

    async def erase(self, channel_id: str, rows: Sequence[Row]) -> None:
        """See MessageLog."""
        size_bytes = sum(len(row.event) for row in rows)
        await self._database.write(self._erase, (channel_id, rows), rows=len(rows), size_bytes=size_bytes)

    async def compact(self) -> None:
        """See MessageLog, and ChatDatabase."""
        await self._database.compact()

    async def channels(self) -> int:
        """How many channels have a log."""
        return await self._database.read(_channels)

    async def fanned(self, channel_id: str) -> int:
        """See MessageLog."""
        return await self._database.read(_fanned, channel_id)

    async def mark_fanned(self, channel_id: str, seq: int) -> None:
        """See MessageLog."""
        await self._database.write(self._mark_fanned, (channel_id, seq))

    async def mark_active(self, slot: int, minute: int, channel_id: str) -> None:
        """See MessageLog. Sets more than an hour older than the slot's newest are dropped."""
        await self._database.write(self._mark_active, (slot, minute, channel_id))

    async def active(self, slot: int, since_minute: int) -> tuple[str, ...]:
        """See MessageLog."""
        return await self._database.read(_active, slot, since_minute)


def check_dense(expected_head: int, rows: Sequence[Row]) -> int:
    """The bytes of the rows' events. Raises ValueError when `rows` is empty or not dense from
    `expected_head + 1`.
    """
    if not rows:
        raise ValueError("append needs at least one row")
    size_bytes = 0
    seq = expected_head
    for row in rows:
        seq += 1
        if row.seq != seq:
            raise ValueError(f"rows must be dense: expected seq {seq}, got {row.seq}")
        size_bytes += len(row.event)
    if seq > LARGEST_SEQ:
        raise ValueError(f"a channel holds at most {LARGEST_SEQ} events")
    return size_bytes


@dataclass(slots=True)
class _Log:
    key: int
    head: int


_LOG_COLUMNS: Final = "(place, digest, batch_id, event) VALUES "
# A row that is already there would be a broken law: undo everything rather than keep a statement journal
# for it.
_INSERT_MESSAGES: Final = RowsStatement(f"INSERT OR ROLLBACK INTO log_message {_LOG_COLUMNS}", 4)
_INSERT_OTHERS: Final = RowsStatement(f"INSERT OR ROLLBACK INTO log_other {_LOG_COLUMNS}", 4)
_MOVE_HEADS: Final = RowsStatement(
    "UPDATE log_head SET head = v.column3 FROM (VALUES ",
    3,
    ") AS v WHERE log_head.channel = v.column1 AND log_head.head = v.column2",
)
_RAISE_FANNED: Final = RowsStatement(
    "UPDATE log_head SET fanned = v.column2 FROM (VALUES ",
    2,
    ") AS v WHERE log_head.channel = v.column1 AND log_head.fanned < v.column2",
)


class AppendWrite(Write[tuple[str, int, "Sequence[Row]", bytes], AppendResult]):
    """Compare and append. Heads of busy channels are cached; the tables compare them again."""

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}

    def run(
        self,
        connection: apsw.Connection,
        requests: Sequence[tuple[str, int, Sequence[Row], bytes]],
    ) -> list[AppendResult | Exception]:
        results: list[AppendResult | Exception] = []
        messages: list[Any] = []
        others: list[Any] = []
        old_heads: dict[str, int] = {}
        for channel_id, expected_head, rows, batch_id in requests:
            log = self._logs.get(channel_id) or self._load(connection, channel_id, expected_head)
            if log.head != expected_head:
                results.append(Conflict(log.head))
                continue
            old_heads.setdefault(channel_id, expected_head)
            place = log.key << SEQ_BITS
            for row in rows:
                table = messages if row.is_message else others
                table += (place + row.seq, row.digest, batch_id, row.event)
            log.head += len(rows)
            results.append(_COMMITTED)
        _INSERT_MESSAGES.run(connection, messages)
        _INSERT_OTHERS.run(connection, others)
        moves: list[int] = []
        for channel_id, old_head in old_heads.items():
            log = self._logs[channel_id]
            moves += (log.key, old_head, log.head)
        if _MOVE_HEADS.run(connection, moves) != len(old_heads):
            raise RuntimeError("a cached head differs from the stored one: another process writes chat.db")
        return results

    def forget(self) -> None:
        self._logs.clear()

    def failed(
        self, request: tuple[str, int, Sequence[Row], bytes], cause: str, *, may_be_written: bool
    ) -> AppendResult:
        return Unknown(cause) if may_be_written else NotWritten(cause)

    def _load(self, connection: apsw.Connection, channel_id: str, expected_head: int) -> _Log:
        found = connection.execute(
            "SELECT channel, head FROM log_head WHERE channel = " + KEY_OF, (channel_id,)
        ).fetchone()
        if found is not None:
            log = _Log(*found)
        elif expected_head == 0:
            log = _Log(make_key(connection, channel_id), 0)
            connection.execute("INSERT INTO log_head (channel, head, fanned) VALUES (?, 0, 0)", (log.key,))
        else:
            # It will conflict: a channel that nobody writes leaves no trace.
            return _Log(0, 0)
        if len(self._logs) >= _CHANNELS_CACHED:
            del self._logs[next(iter(self._logs))]
        self._logs[channel_id] = log
        return log


_COMMITTED: Final = Committed()


class _EraseWrite(Write[tuple[str, "Sequence[Row]"], None]):
    """Digest and table are compared: what a row is never changes, only what it says.

    What is overwritten is zeroed at once, in pages that become free too. That is most of it; for the rest see
    ChatDatabase.compact.
    """

    def run(
        self, connection: apsw.Connection, requests: Sequence[tuple[str, Sequence[Row]]]
    ) -> list[Exception | None]:
        # Only here: it makes every other write dearer. It acts while it is compiled, see Writer.
        connection.execute("PRAGMA secure_delete = ON", can_cache=False)
        try:
            for channel_id, rows in requests:
                key = find_key(connection, channel_id)
                if key is not None:
                    self._erase(connection, key << SEQ_BITS, rows)
        finally:
            connection.execute("PRAGMA secure_delete = OFF", can_cache=False)
        return [None] * len(requests)

    def _erase(self, connection: apsw.Connection, place: int, rows: Sequence[Row]) -> None:
        for row in rows:
            # The places beyond a channel's are another channel's.
            if 1 <= row.seq <= LARGEST_SEQ:
                table = "log_message" if row.is_message else "log_other"
                connection.execute(
                    f"UPDATE {table} SET event = ? WHERE place = ? AND digest = ?",
                    (row.event, place + row.seq, row.digest),
                )


class _MarkFannedWrite(Write[tuple[str, int], None]):
    durable = False

    def run(self, connection: apsw.Connection, requests: Sequence[tuple[str, int]]) -> list[Exception | None]:
        marks: dict[int, int] = {}
        for channel_id, seq in requests:
            key = find_key(connection, channel_id)
            if key is not None:
                marks[key] = max(seq, marks.get(key, 0))
        _RAISE_FANNED.run(connection, [value for mark in marks.items() for value in mark])
        return [None] * len(requests)


class _MarkActiveWrite(Write[tuple[int, int, str], None]):
    def __init__(self) -> None:
        self._newest: dict[int, int] = {}

    def run(
        self, connection: apsw.Connection, requests: Sequence[tuple[int, int, str]]
    ) -> list[Exception | None]:
        for slot, minute, channel_id in requests:
            connection.execute(
                "INSERT OR IGNORE INTO active_channel (slot, minute, channel) VALUES (?, ?, ?)",
                (slot, minute, make_key(connection, channel_id)),
            )
            if minute > self._newest.get(slot, -1):
                self._newest[slot] = minute
                connection.execute(
                    "DELETE FROM active_channel WHERE slot = ? AND minute < ?",
                    (slot, minute - ACTIVE_MINUTES_KEPT),
                )
        return [None] * len(requests)

    def forget(self) -> None:
        self._newest.clear()


def _head(connection: apsw.Connection, channel_id: str) -> int:
    head: int | None = connection.execute(
        "SELECT head FROM log_head WHERE channel = " + KEY_OF, (channel_id,)
    ).get
    return head or 0


def _channels(connection: apsw.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM log_head WHERE head > 0").get)


def _fanned(connection: apsw.Connection, channel_id: str) -> int:
    seq: int | None = connection.execute(
        "SELECT fanned FROM log_head WHERE channel = " + KEY_OF, (channel_id,)
    ).get
    return seq or 0


def _batch_at(connection: apsw.Connection, channel_id: str, seq: int) -> bytes | None:
    key = find_key(connection, channel_id)
    if key is None or not 1 <= seq <= LARGEST_SEQ:
        return None
    batch_id: bytes | None = connection.execute(
        "SELECT batch_id FROM log_message WHERE place = ?1 "
        "UNION ALL SELECT batch_id FROM log_other WHERE place = ?1",
        ((key << SEQ_BITS) + seq,),
    ).get
    return batch_id


def _active(connection: apsw.Connection, slot: int, since_minute: int) -> tuple[str, ...]:
    found = connection.execute(
        "SELECT DISTINCT channel_id FROM active_channel JOIN channel_key ON key = channel "
        "WHERE slot = ? AND minute >= ? ORDER BY channel_id",
        (slot, since_minute),
    )
    return tuple(channel_id for (channel_id,) in found)


def _read(
    connection: apsw.Connection,
    channel_id: str,
    from_seq: int,
    to_seq: int,
    limit: int,
    limit_bytes: int,
    newest_first: bool,
    only_messages: bool,
) -> LogPage:
    found = connection.execute(
        "SELECT channel, head FROM log_head WHERE channel = " + KEY_OF, (channel_id,)
    ).fetchone()
    if found is None:
        return LogPage((), 0, False)
    key, head = found
    # Rows up to this head are there for ever: reading them in a second statement gives what one snapshot
    # would, but for what was erased in between.
    place = key << SEQ_BITS
    first, last = place + max(from_seq, 1), place + min(to_seq, head)
    rows: list[Row] = []
    left_bytes = limit_bytes
    for row_place, is_message, digest, event in connection.execute(
        _PAGES[newest_first, only_messages], (first, last, limit + 1)
    ):
        left_bytes -= len(event)
        if rows and (len(rows) >= limit or left_bytes < 0):
            return LogPage(tuple(rows), head, True)
        rows.append(Row(row_place - place, bool(is_message), digest, event))
    return LogPage(tuple(rows), head, False)


def _pick(connection: apsw.Connection, channel_id: str, seqs: Sequence[int]) -> tuple[Row, ...]:
    key = find_key(connection, channel_id)
    if key is None:
        return ()
    start = key << SEQ_BITS
    # The places beyond a channel's are another channel's.
    places = json.dumps([start + seq for seq in set(seqs) if 1 <= seq <= LARGEST_SEQ])
    found = connection.execute(
        "SELECT place, 1, digest, event FROM json_each(?1) JOIN log_message ON place = value UNION ALL "
        "SELECT place, 0, digest, event FROM json_each(?1) JOIN log_other ON place = value ORDER BY place",
        (places,),
    )
    return tuple(
        Row(place - start, bool(is_message), digest, event) for place, is_message, digest, event in found
    )


def _page(newest_first: bool, only_messages: bool) -> str:
    tables = ["SELECT place, 1, digest, event FROM log_message WHERE place BETWEEN ?1 AND ?2"]
    if not only_messages:
        tables.append("SELECT place, 0, digest, event FROM log_other WHERE place BETWEEN ?1 AND ?2")
    return " UNION ALL ".join(tables) + f" ORDER BY place {'DESC' if newest_first else 'ASC'} LIMIT ?3"


_PAGES: Final = {(newest, only): _page(newest, only) for newest in (False, True) for only in (False, True)}
