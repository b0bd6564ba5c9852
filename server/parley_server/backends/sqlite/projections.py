"""Projections in `chat.db`, beside the logs that they are derived from."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from parley_server.backends.projected import advance_channel, pending
from parley_server.backends.sqlite.channel_keys import KEY_OF, find_key, make_key
from parley_server.backends.sqlite.writer import RowsStatement, Write
from parley_server.chat.event import ChannelKind, HistoryVisibility, MemberChanged, MessagePosted, Role
from parley_server.chat.membership import after_change
from parley_server.ports.projections import ChannelRow, InboxRow, MemberRow, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from parley_server.backends.sqlite.database import ChatDatabase
    from parley_server.chat.event import Event

_CHANNELS_CACHED: Final = 65_536
_CANDIDATES_READ: Final = 16


class SqliteProjections:
    """Projections in one file. No row is written per member and message: a channel's head stands in one
    row, and an inbox joins and sorts when it is read.

    `apply` joins the transaction of whatever else is being written. Alone it does not wait for the disk:
    what a power cut takes can be rebuilt from the logs, and `behind` names the channels.
    """

    def __init__(self, database: ChatDatabase) -> None:
        self._database = database
        self._apply = _ApplyWrite()

    async def apply(self, channel_id: str, events: Sequence[Event]) -> None:
        """See Projections. Raises ValueError for events that no log can hold in this order, and
        StoreUnavailable.
        """
        await self._database.write(self._apply, (channel_id, events), rows=len(events))

    async def watermark(self, channel_id: str) -> int:
        """See Projections."""
        return await self._database.read(_watermark, channel_id)

    async def channel(self, channel_id: str) -> ChannelRow | None:
        """See Projections."""
        return await self._database.read(_channel, channel_id)

    async def member(self, channel_id: str, user_id: str) -> MemberRow | None:
        """See Projections."""
        return await self._database.read(_member, channel_id, user_id)

    async def members(self, channel_id: str, *, after_user_id: str, limit: int) -> tuple[MemberRow, ...]:
        """See Projections."""
        return await self._database.read(_members, channel_id, after_user_id, limit)

    async def channels_of(self, user_id: str, *, after_channel_id: str, limit: int) -> tuple[InboxRow, ...]:
        """See Projections."""
        return await self._database.read(_channels_of, user_id, after_channel_id, limit)

    async def inbox(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> tuple[InboxRow, ...]:
        """See Projections."""
        return await self._database.read(_inbox, user_id, before, limit)

    async def seqs_of(self, channel_id: str, actor_id: str, client_message_id: str) -> tuple[int, ...]:
        """See Projections."""
        return await self._database.read(_seqs_of, client_id_key(channel_id, actor_id, client_message_id))

    async def behind(self, *, limit: int) -> tuple[str, ...]:
        """Channels whose log goes on after their watermark, at most `limit`.

        After a crash these are to be activated, which applies what is missing. Reads one small row per
        channel: meant for the start of a node.
        """
        return await self._database.read(_behind, limit)


def client_id_key(channel_id: str, actor_id: str, client_message_id: str) -> bytes:
    """The 16 bytes under which a client's id is looked up.

    A UUIDv7 begins with its time: kept in front, ids that come at one time stand side by side, and a batch
    touches one page of the index instead of one per id. The rest is a digest, so nobody can make ids that
    hide another's.
    """
    text = f"{channel_id}\0{actor_id}\0{client_message_id}".encode()
    try:
        time = bytes.fromhex(client_message_id[:8] + client_message_id[9:13])
    except ValueError:
        time = b""
    return time + blake2b(text, digest_size=16 - len(time)).digest()


_MOVE_HEADS: Final = RowsStatement(
    "UPDATE projected_head SET watermark = v.column2, message_no = v.column3, "
    "last_activity_ms = max(last_activity_ms, v.column4), last_message_seq = v.column5 FROM (VALUES ",
    5,
    ") AS v WHERE projected_head.channel = v.column1",
)
_INSERT_CLIENT_IDS: Final = RowsStatement("INSERT OR IGNORE INTO client_id (key, seq) VALUES ", 2)


class _ApplyWrite(Write[tuple[str, "Sequence[Event]"], None]):
    """Messages, nearly all there is, only move their channel's head: a few statements for the whole batch.

    Other events go through the rows that they change. Watermarks of busy channels are cached.
    """

    durable = False

    def __init__(self) -> None:
        # Channel id -> (key, watermark), for channels that were made.
        self._known: dict[str, tuple[int, int]] = {}

    def run(
        self, connection: apsw.Connection, requests: Sequence[tuple[str, Sequence[Event]]]
    ) -> list[Exception | None]:
        results: list[Exception | None] = []
        heads: dict[int, tuple[int, int, int, int, int]] = {}
        client_ids: list[Any] = []
        for channel_id, events in requests:
            try:
                self._take(connection, channel_id, events, heads, client_ids)
            except ValueError as refused:
                results.append(refused)
            else:
                results.append(None)
        self._move(connection, heads)
        _INSERT_CLIENT_IDS.run(connection, client_ids)
        return results

    def forget(self) -> None:
        self._known.clear()

    def _take(
        self,
        connection: apsw.Connection,
        channel_id: str,
        events: Sequence[Event],
        heads: dict[int, tuple[int, int, int, int, int]],
        client_ids: list[Any],
    ) -> None:
        key, watermark = self._known.get(channel_id) or self._load(connection, channel_id)
        fresh = pending(channel_id, watermark, events)
        if not fresh:
            return
        ids: list[Any] = []
        for event in fresh:
            if event.client_message_id:
                ids.append(client_id_key(channel_id, event.actor_id, event.client_message_id))
                ids.append(event.seq)
        last = fresh[-1]
        if watermark and all(isinstance(event.body, MessagePosted) for event in fresh):
            activity = max(event.create_time_ms for event in fresh)
            if key in heads:
                activity = max(activity, heads[key][3])
            heads[key] = (key, last.seq, last.message_no, activity, last.seq)
        else:
            self._move(connection, heads)
            key = _apply_rows(connection, channel_id, fresh)
        client_ids += ids
        if channel_id not in self._known and len(self._known) >= _CHANNELS_CACHED:
            del self._known[next(iter(self._known))]
        self._known[channel_id] = (key, last.seq)

    def _load(self, connection: apsw.Connection, channel_id: str) -> tuple[int, int]:
        found: tuple[int, int] | None = connection.execute(
            "SELECT channel, watermark FROM projected_head WHERE channel = " + KEY_OF, (channel_id,)
        ).fetchone()
        return found or (0, 0)

    def _move(self, connection: apsw.Connection, heads: dict[int, tuple[int, int, int, int, int]]) -> None:
        """Write the heads gathered so far and empty `heads`."""
        values = [value for head in heads.values() for value in head]
        if _MOVE_HEADS.run(connection, values) != len(heads):
            raise RuntimeError("a cached watermark has no row: another process writes chat.db")
        heads.clear()


def _apply_rows(connection: apsw.Connection, channel_id: str, events: Sequence[Event]) -> int:
    """Apply events of any kind and return the channel's key. Everything is worked out before anything is
    written.
    """
    before = row = _channel(connection, channel_id)
    key = find_key(connection, channel_id)
    members: dict[str, MemberRow] = {}
    count = 0 if row is None else row.member_count
    for event in events:
        body = event.body
        if isinstance(body, MemberChanged) and row is not None:
            held = members.get(body.user_id) or _member(connection, channel_id, body.user_id)
            after = after_change(held, event, body, row.history_visibility)
            count += (after.role is not None) - (held is not None and held.role is not None)
            members[body.user_id] = after
        row = advance_channel(row, event, count)
    if row is None:
        raise ValueError("no events to apply")
    if key is None:
        key = make_key(connection, channel_id)
    settings = (key, row.kind, row.title, row.history_visibility, row.member_limit)
    if before is None or settings[1:] != (
        before.kind,
        before.title,
        before.history_visibility,
        before.member_limit,
    ):
        connection.execute(
            "INSERT OR REPLACE INTO projected_channel "
            "(channel, kind, title, history_visibility, member_limit, creator_id, create_time_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*settings, row.creator_id, row.create_time_ms),
        )
    connection.execute(
        "INSERT OR REPLACE INTO projected_head "
        "(channel, watermark, message_no, last_activity_ms, last_message_seq, member_count) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            key,
            row.watermark,
            row.message_no,
            row.last_activity_ms,
            row.last_message_seq,
            row.member_count,
        ),
    )
    for member in members.values():
        connection.execute(
            "INSERT OR REPLACE INTO member (channel, user_id, role, joined_seq, joined_message_no, windows) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (
                key,
                member.user_id,
                member.role,
                member.joined_seq,
                member.joined_message_no,
                json.dumps([[window.from_seq, window.to_seq] for window in member.windows]),
            ),
        )
    return key


_CHANNEL_COLUMNS: Final = (
    "kind, title, history_visibility, member_limit, creator_id, create_time_ms, "
    "member_count, watermark, message_no, last_activity_ms, last_message_seq"
)
_MEMBER_COLUMNS: Final = "user_id, role, joined_seq, joined_message_no, windows"


def _channel_row(channel_id: str, columns: tuple[Any, ...]) -> ChannelRow:
    kind, title, visibility, *others = columns
    return ChannelRow(channel_id, ChannelKind(kind), title, HistoryVisibility(visibility), *others)


def _member_row(channel_id: str, columns: tuple[Any, ...]) -> MemberRow:
    user_id, role, joined_seq, joined_message_no, windows = columns
    return MemberRow(
        channel_id,
        user_id,
        None if role is None else Role(role),
        joined_seq,
        joined_message_no,
        tuple(Window(from_seq, to_seq) for from_seq, to_seq in json.loads(windows)),
    )


def _watermark(connection: apsw.Connection, channel_id: str) -> int:
    watermark: int | None = connection.execute(
        "SELECT watermark FROM projected_head WHERE channel = " + KEY_OF, (channel_id,)
    ).get
    return watermark or 0


def _channel(connection: apsw.Connection, channel_id: str) -> ChannelRow | None:
    found = connection.execute(
        f"SELECT {_CHANNEL_COLUMNS} FROM projected_channel JOIN projected_head USING (channel) "
        "WHERE channel = " + KEY_OF,
        (channel_id,),
    ).fetchone()
    return None if found is None else _channel_row(channel_id, found)


def _member(connection: apsw.Connection, channel_id: str, user_id: str) -> MemberRow | None:
    found = connection.execute(
        f"SELECT {_MEMBER_COLUMNS} FROM member WHERE channel = {KEY_OF} AND user_id = ?",
        (channel_id, user_id),
    ).fetchone()
    return None if found is None else _member_row(channel_id, found)


def _members(
    connection: apsw.Connection, channel_id: str, after_user_id: str, limit: int
) -> tuple[MemberRow, ...]:
    found = connection.execute(
        f"SELECT {_MEMBER_COLUMNS} FROM member "
        f"WHERE channel = {KEY_OF} AND user_id > ? AND role IS NOT NULL ORDER BY user_id LIMIT ?",
        (channel_id, after_user_id, limit),
    )
    return tuple(_member_row(channel_id, columns) for columns in found)


_INBOX: Final = (
    f"SELECT channel_id, {_CHANNEL_COLUMNS}, {_MEMBER_COLUMNS}, "
    f"CASE kind WHEN {int(ChannelKind.DIRECT)} THEN "
    "coalesce((SELECT min(peer.user_id) FROM member AS peer "
    "WHERE peer.channel = member.channel AND peer.user_id <> member.user_id), '') ELSE '' END "
    "FROM member JOIN channel_key ON key = member.channel "
    "JOIN projected_head USING (channel) JOIN projected_channel USING (channel) "
    "WHERE user_id = ?1 AND role IS NOT NULL AND "
)


def _inbox_rows(
    connection: apsw.Connection, condition: str, bindings: tuple[Any, ...]
) -> tuple[InboxRow, ...]:
    return tuple(
        InboxRow(
            _channel_row(columns[0], columns[1:12]), _member_row(columns[0], columns[12:17]), columns[17]
        )
        for columns in connection.execute(_INBOX + condition, bindings)
    )


def _channels_of(
    connection: apsw.Connection, user_id: str, after_channel_id: str, limit: int
) -> tuple[InboxRow, ...]:
    return _inbox_rows(
        connection, "channel_id > ?2 ORDER BY channel_id LIMIT ?3", (user_id, after_channel_id, limit)
    )


def _inbox(
    connection: apsw.Connection, user_id: str, before: tuple[int, str] | None, limit: int
) -> tuple[InboxRow, ...]:
    order = " ORDER BY last_activity_ms DESC, channel_id DESC LIMIT ?2"
    if before is None:
        return _inbox_rows(connection, "true" + order, (user_id, limit))
    return _inbox_rows(
        connection, "(last_activity_ms, channel_id) < (?3, ?4)" + order, (user_id, limit, *before)
    )


def _seqs_of(connection: apsw.Connection, key: bytes) -> tuple[int, ...]:
    found = connection.execute(
        "SELECT seq FROM client_id WHERE key = ? ORDER BY seq LIMIT ?", (key, _CANDIDATES_READ)
    )
    return tuple(seq for (seq,) in found)


def _behind(connection: apsw.Connection, limit: int) -> tuple[str, ...]:
    found = connection.execute(
        "SELECT channel_id FROM log_head JOIN channel_key ON key = log_head.channel "
        "LEFT JOIN projected_head USING (channel) WHERE head > coalesce(watermark, 0) LIMIT ?",
        (limit,),
    )
    return tuple(channel_id for (channel_id,) in found)
