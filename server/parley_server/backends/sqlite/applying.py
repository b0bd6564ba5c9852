"""Writing the projected rows."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from parley_server.backends.projected import Held, Needed, derive, needed, only_messages, pending
from parley_server.backends.projected_messages import EmojiRow, MessageRow
from parley_server.backends.sqlite import channel_rows
from parley_server.backends.sqlite.channel_keys import KEY_OF, LARGEST_SEQ, SEQ_BITS, find_key, make_key
from parley_server.backends.sqlite.channel_rows import INVITE_COLUMNS, MEMBER_COLUMNS
from parley_server.backends.sqlite.writer import RowsStatement, Write
from parley_server.chat.event import ChannelDeleted
from parley_server.chat.membership import after_end
from parley_server.ports.projections import InviteRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

    from parley_server.backends.projected import Changes
    from parley_server.backends.projected_messages import MessageChanges
    from parley_server.chat.event import Event
    from parley_server.ports.projections import ChannelRow, MemberRow

_CHANNELS_CACHED: Final = 65_536


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


class ApplyWrite(Write[tuple[str, "Sequence[Event]"], None]):
    """Messages, nearly all there is, only move their channel's head: a few statements for the whole batch.

    Other events go through the rows that they change. Watermarks of busy channels are cached.
    """

    durable = False

    def __init__(self) -> None:
        # Channel id -> (key, watermark), for channels that were made and did not end.
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
        known = self._known.get(channel_id) or self._load(connection, channel_id)
        key, watermark = known or (0, channel_rows.watermark(connection, channel_id))
        fresh = pending(channel_id, watermark, events)
        if not fresh:
            return
        ids: list[Any] = []
        for event in fresh:
            if event.client_message_id:
                ids.append(client_id_key(channel_id, event.actor_id, event.client_message_id))
                ids.append(event.seq)
        last = fresh[-1]
        if key and only_messages(fresh):
            activity = max(event.create_time_ms for event in fresh)
            if key in heads:
                activity = max(activity, heads[key][3])
            heads[key] = (key, last.seq, last.message_no, activity, last.seq)
        else:
            self._move(connection, heads)
            key = _apply_rows(connection, channel_id, fresh)
        client_ids += ids
        if isinstance(last.body, ChannelDeleted):
            self._known.pop(channel_id, None)
            return
        if channel_id not in self._known and len(self._known) >= _CHANNELS_CACHED:
            del self._known[next(iter(self._known))]
        self._known[channel_id] = (key, last.seq)

    def _load(self, connection: apsw.Connection, channel_id: str) -> tuple[int, int] | None:
        found: tuple[int, int] | None = connection.execute(
            "SELECT channel, watermark FROM projected_head JOIN projected_channel USING (channel) "
            f"WHERE channel = {KEY_OF} AND NOT deleted",
            (channel_id,),
        ).fetchone()
        return found

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
    before = channel_rows.channel(connection, channel_id)
    key = find_key(connection, channel_id)
    held = Held(before) if before is None or key is None else _held(connection, before, key, needed(events))
    changes = derive(held, events)
    if key is None:
        key = make_key(connection, channel_id)
    _write_channel(connection, key, before, changes.channel)
    _write_members(connection, key, changes.members.values())
    _write_messages(connection, key << SEQ_BITS, changes.messages)
    _write_administration(connection, key, changes)
    if changes.ended is not None:
        _end(connection, key, channel_id, changes.ended)
    return key


def _held(connection: apsw.Connection, channel: ChannelRow, key: int, rows: Needed) -> Held:
    held = Held(channel)
    start = key << SEQ_BITS
    if rows.user_ids:
        found = connection.execute(
            f"SELECT {MEMBER_COLUMNS} FROM json_each(?) JOIN member ON channel = ? AND user_id = value",
            (json.dumps(list(rows.user_ids)), key),
        )
        for columns in found:
            row = channel_rows.member_row(channel.channel_id, columns)
            held.members[row.user_id] = row
    if rows.message_seqs:
        places = json.dumps([start + seq for seq in rows.message_seqs])
        sql = f"SELECT {_MESSAGE_COLUMNS} FROM json_each(?) JOIN message_state ON place = value"
        for place, *columns in connection.execute(sql, (places,)):
            held.messages[place - start] = MessageRow(*columns)
    if rows.pins:
        sql = f"SELECT {_MESSAGE_COLUMNS} FROM message_state WHERE pin_seq > 0 AND place BETWEEN ? AND ?"
        for place, *columns in connection.execute(sql, (start, start + LARGEST_SEQ)):
            held.messages[place - start] = MessageRow(*columns)
    if rows.emojis:
        keys = json.dumps([(start + seq, emoji) for seq, emoji in rows.emojis])
        found = connection.execute(
            "SELECT place, emoji, count, first_seq FROM json_each(?) AS wanted "
            "JOIN message_emoji ON place = wanted.value ->> 0 AND emoji = wanted.value ->> 1",
            (keys,),
        )
        for place, emoji, count, first_seq in found:
            held.emojis[place - start, emoji] = EmojiRow(count, first_seq)
    if rows.invites:
        for columns in connection.execute(f"SELECT {INVITE_COLUMNS} FROM invite WHERE channel = ?", (key,)):
            held.invites[columns[0]] = InviteRow(*columns)
    return held


def _write_channel(connection: apsw.Connection, key: int, before: ChannelRow | None, row: ChannelRow) -> None:
    settings = _settings(row)
    if before is None or settings != _settings(before):
        connection.execute(
            "INSERT OR REPLACE INTO projected_channel "
            "(channel, kind, title, history_visibility, member_limit, creator_id, create_time_ms, "
            "description, slow_mode_seconds, deleted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (key, *settings),
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


def _settings(row: ChannelRow) -> tuple[Any, ...]:
    return (
        row.kind,
        row.title,
        row.history_visibility,
        row.member_limit,
        row.creator_id,
        row.create_time_ms,
        row.description,
        row.slow_mode_seconds,
        row.deleted,
    )


_PUT_MEMBERS: Final = RowsStatement(f"INSERT OR REPLACE INTO member (channel, {MEMBER_COLUMNS}) VALUES ", 6)


def _write_members(connection: apsw.Connection, key: int, rows: Iterable[MemberRow]) -> None:
    _PUT_MEMBERS.run(
        connection, [value for row in rows for value in (key, *channel_rows.member_columns(row))]
    )


_MESSAGE_COLUMNS: Final = (
    "place, edit_seq, edit_time_ms, delete_seq, pin_seq, pin_author_id, reply_count, last_reply_seq"
)
_PUT_MESSAGES: Final = RowsStatement(f"INSERT OR REPLACE INTO message_state ({_MESSAGE_COLUMNS}) VALUES ", 8)
_PUT_EMOJIS: Final = RowsStatement(
    "INSERT OR REPLACE INTO message_emoji (place, emoji, count, first_seq) VALUES ", 4
)
_PUT_REACTIONS: Final = RowsStatement(
    "INSERT OR REPLACE INTO message_reaction (place, emoji, user_id, seq) VALUES ", 4
)
_PUT_EDITS: Final = RowsStatement("INSERT OR IGNORE INTO message_edit (place, seq) VALUES ", 2)
_PUT_REPLIES: Final = RowsStatement("INSERT OR IGNORE INTO message_reply (place, seq) VALUES ", 2)


def _write_messages(connection: apsw.Connection, start: int, changes: MessageChanges) -> None:
    messages: list[Any] = []
    for seq, row in changes.messages.items():
        messages += (
            start + seq,
            row.edit_seq,
            row.edit_time_ms,
            row.delete_seq,
            row.pin_seq,
            row.pin_author_id,
            row.reply_count,
            row.last_reply_seq,
        )
    _PUT_MESSAGES.run(connection, messages)
    for seq in changes.cleared:
        connection.execute("DELETE FROM message_emoji WHERE place = ?", (start + seq,))
        connection.execute("DELETE FROM message_reaction WHERE place = ?", (start + seq,))
    emojis: list[Any] = []
    for (seq, emoji), emoji_row in changes.emojis.items():
        if emoji_row is None:
            connection.execute(
                "DELETE FROM message_emoji WHERE place = ? AND emoji = ?", (start + seq, emoji)
            )
        else:
            emojis += (start + seq, emoji, emoji_row.count, emoji_row.first_seq)
    _PUT_EMOJIS.run(connection, emojis)
    reactions: list[Any] = []
    for (seq, emoji, user_id), at_seq in changes.reactions.items():
        if at_seq is None:
            connection.execute(
                "DELETE FROM message_reaction WHERE place = ? AND user_id = ? AND emoji = ?",
                (start + seq, user_id, emoji),
            )
        else:
            reactions += (start + seq, emoji, user_id, at_seq)
    _PUT_REACTIONS.run(connection, reactions)
    _PUT_EDITS.run(
        connection, [value for seq, edit_seq in changes.edits for value in (start + seq, edit_seq)]
    )
    _PUT_REPLIES.run(connection, [value for seq, reply in changes.replies for value in (start + seq, reply)])


def _write_administration(connection: apsw.Connection, key: int, changes: Changes) -> None:
    channel_id = changes.channel.channel_id
    for invite_id, invite in changes.invites.items():
        if invite is None:
            connection.execute("DELETE FROM invite WHERE channel = ? AND invite_id = ?", (key, invite_id))
        else:
            connection.execute(
                f"INSERT OR REPLACE INTO invite (channel, {INVITE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    invite_id,
                    invite.creator_id,
                    invite.create_time_ms,
                    invite.expire_time_ms,
                    invite.use_limit,
                    invite.uses,
                ),
            )
    for user_id, ban in changes.bans.items():
        if ban is None:
            connection.execute("DELETE FROM ban WHERE channel = ? AND user_id = ?", (key, user_id))
        else:
            connection.execute(
                "INSERT OR REPLACE INTO ban (channel, user_id, actor_id, create_time_ms) VALUES (?, ?, ?, ?)",
                (key, user_id, ban.actor_id, ban.create_time_ms),
            )
    for user_id, seq in changes.erased_authors.items():
        connection.execute(
            "INSERT OR REPLACE INTO erased_author (channel, user_id, seq) VALUES (?, ?, ?)",
            (key, user_id, seq),
        )
    for seq in changes.due:
        connection.execute(
            "INSERT OR IGNORE INTO erasure_due (channel_id, seq) VALUES (?, ?)", (channel_id, seq)
        )


def _end(connection: apsw.Connection, key: int, channel_id: str, event: Event) -> None:
    """Leave of a deleted channel what its members have to learn. The rows of its messages, of which there may
    be any number, are left to `dropping`.
    """
    found = list(connection.execute(f"SELECT {MEMBER_COLUMNS} FROM member WHERE channel = ?", (key,)))
    rows = [after_end(channel_rows.member_row(channel_id, columns), event) for columns in found]
    connection.execute("DELETE FROM member WHERE channel = ?", (key,))
    _write_members(connection, key, [row for row in rows if row is not None])
    for table in ("invite", "ban", "erased_author"):
        connection.execute(f"DELETE FROM {table} WHERE channel = ?", (key,))
