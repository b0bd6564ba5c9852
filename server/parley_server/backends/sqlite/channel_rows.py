"""Reading the projected rows of channels: settings, members, inboxes, invites, bans."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from parley_server.backends.sqlite.channel_keys import KEY_OF
from parley_server.chat.event import ChannelKind, HistoryVisibility, Role
from parley_server.ports.projections import BanRow, ChannelRow, InboxRow, InviteRow, MemberRow, Window

if TYPE_CHECKING:
    import apsw

_CANDIDATES_READ: Final = 16

CHANNEL_COLUMNS: Final = (
    "kind, title, history_visibility, member_limit, creator_id, create_time_ms, "
    "member_count, watermark, message_no, last_activity_ms, last_message_seq, "
    "description, slow_mode_seconds, deleted"
)
MEMBER_COLUMNS: Final = "user_id, role, joined_seq, joined_message_no, windows"
INVITE_COLUMNS: Final = "invite_id, creator_id, create_time_ms, expire_time_ms, use_limit, uses"


def channel_row(channel_id: str, columns: tuple[Any, ...]) -> ChannelRow:
    """The row of CHANNEL_COLUMNS."""
    kind, title, visibility, *others, deleted = columns
    typed: tuple[Any, ...] = (ChannelKind(kind), title, HistoryVisibility(visibility), *others, bool(deleted))
    return ChannelRow(channel_id, *typed)


def member_row(channel_id: str, columns: tuple[Any, ...]) -> MemberRow:
    """The row of MEMBER_COLUMNS."""
    user_id, role, joined_seq, joined_message_no, windows = columns
    return MemberRow(
        channel_id,
        user_id,
        None if role is None else Role(role),
        joined_seq,
        joined_message_no,
        tuple(Window(from_seq, to_seq) for from_seq, to_seq in json.loads(windows)),
    )


def member_columns(row: MemberRow) -> tuple[Any, ...]:
    """MEMBER_COLUMNS of the row."""
    windows = json.dumps([[window.from_seq, window.to_seq] for window in row.windows])
    return row.user_id, row.role, row.joined_seq, row.joined_message_no, windows


def watermark(connection: apsw.Connection, channel_id: str) -> int:
    """See Projections."""
    found: int | None = connection.execute(
        "SELECT watermark FROM projected_head WHERE channel = " + KEY_OF, (channel_id,)
    ).get
    return found or 0


def channel(connection: apsw.Connection, channel_id: str) -> ChannelRow | None:
    """See Projections."""
    found = connection.execute(
        f"SELECT {CHANNEL_COLUMNS} FROM projected_channel JOIN projected_head USING (channel) "
        "WHERE channel = " + KEY_OF,
        (channel_id,),
    ).fetchone()
    return None if found is None else channel_row(channel_id, found)


def member(connection: apsw.Connection, channel_id: str, user_id: str) -> MemberRow | None:
    """See Projections."""
    found = connection.execute(
        f"SELECT {MEMBER_COLUMNS} FROM member WHERE channel = {KEY_OF} AND user_id = ?",
        (channel_id, user_id),
    ).fetchone()
    return None if found is None else member_row(channel_id, found)


def members(
    connection: apsw.Connection, channel_id: str, after_user_id: str, limit: int
) -> tuple[MemberRow, ...]:
    """See Projections."""
    found = connection.execute(
        f"SELECT {MEMBER_COLUMNS} FROM member "
        f"WHERE channel = {KEY_OF} AND user_id > ? AND role IS NOT NULL ORDER BY user_id LIMIT ?",
        (channel_id, after_user_id, limit),
    )
    return tuple(member_row(channel_id, columns) for columns in found)


def memberships_of(
    connection: apsw.Connection, user_id: str, after_channel_id: str, limit: int
) -> tuple[MemberRow, ...]:
    """See Projections."""
    found = connection.execute(
        f"SELECT channel_id, {MEMBER_COLUMNS} FROM member JOIN channel_key ON key = channel "
        "WHERE user_id = ? AND channel_id > ? ORDER BY channel_id LIMIT ?",
        (user_id, after_channel_id, limit),
    )
    return tuple(member_row(channel_id, tuple(columns)) for channel_id, *columns in found)


_INBOX: Final = (
    f"SELECT channel_id, {MEMBER_COLUMNS}, "
    f"CASE kind WHEN {int(ChannelKind.DIRECT)} THEN "
    "coalesce((SELECT min(peer.user_id) FROM member AS peer "
    "WHERE peer.channel = member.channel AND peer.user_id <> member.user_id), '') ELSE '' END, "
    f"{CHANNEL_COLUMNS} "
    "FROM member JOIN channel_key ON key = member.channel "
    "JOIN projected_head USING (channel) JOIN projected_channel USING (channel) "
    "WHERE user_id = ?1 AND role IS NOT NULL AND "
)


def _inbox_rows(
    connection: apsw.Connection, condition: str, bindings: tuple[Any, ...]
) -> tuple[InboxRow, ...]:
    return tuple(
        InboxRow(channel_row(columns[0], columns[7:]), member_row(columns[0], columns[1:6]), columns[6])
        for columns in connection.execute(_INBOX + condition, bindings)
    )


def channels_of(
    connection: apsw.Connection, user_id: str, after_channel_id: str, limit: int
) -> tuple[InboxRow, ...]:
    """See Projections."""
    return _inbox_rows(
        connection, "channel_id > ?2 ORDER BY channel_id LIMIT ?3", (user_id, after_channel_id, limit)
    )


def inbox(
    connection: apsw.Connection, user_id: str, before: tuple[int, str] | None, limit: int
) -> tuple[InboxRow, ...]:
    """See Projections."""
    order = " ORDER BY last_activity_ms DESC, channel_id DESC LIMIT ?2"
    if before is None:
        return _inbox_rows(connection, "true" + order, (user_id, limit))
    return _inbox_rows(
        connection, "(last_activity_ms, channel_id) < (?3, ?4)" + order, (user_id, limit, *before)
    )


def invites(connection: apsw.Connection, channel_id: str) -> tuple[InviteRow, ...]:
    """See Projections."""
    found = connection.execute(
        f"SELECT {INVITE_COLUMNS} FROM invite JOIN projected_head USING (channel) "
        f"WHERE channel = {KEY_OF} AND last_activity_ms < expire_time_ms "
        "AND (use_limit = 0 OR uses < use_limit) ORDER BY create_time_ms, invite_id",
        (channel_id,),
    )
    return tuple(InviteRow(*columns) for columns in found)


def bans(connection: apsw.Connection, channel_id: str, after_user_id: str, limit: int) -> tuple[BanRow, ...]:
    """See Projections."""
    found = connection.execute(
        "SELECT user_id, actor_id, create_time_ms FROM ban "
        f"WHERE channel = {KEY_OF} AND user_id > ? ORDER BY user_id LIMIT ?",
        (channel_id, after_user_id, limit),
    )
    return tuple(BanRow(*columns) for columns in found)


def erasures_due(
    connection: apsw.Connection, after: tuple[str, int], limit: int
) -> tuple[tuple[str, int], ...]:
    """See Projections."""
    found = connection.execute(
        "SELECT channel_id, seq FROM erasure_due WHERE (channel_id, seq) > (?, ?) "
        "ORDER BY channel_id, seq LIMIT ?",
        (*after, limit),
    )
    return tuple((channel_id, seq) for channel_id, seq in found)


def seqs_of(connection: apsw.Connection, key: bytes) -> tuple[int, ...]:
    """See Projections; `key` is the `client_id_key`."""
    found = connection.execute(
        "SELECT seq FROM client_id WHERE key = ? ORDER BY seq LIMIT ?", (key, _CANDIDATES_READ)
    )
    return tuple(seq for (seq,) in found)


def behind(connection: apsw.Connection, limit: int) -> tuple[str, ...]:
    """Channels whose log goes on after their watermark."""
    found = connection.execute(
        "SELECT channel_id FROM log_head JOIN channel_key ON key = log_head.channel "
        "LEFT JOIN projected_head USING (channel) WHERE head > coalesce(watermark, 0) LIMIT ?",
        (limit,),
    )
    return tuple(channel_id for (channel_id,) in found)
