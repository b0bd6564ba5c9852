"""Reading the projected rows of messages: what became of them, their edits, reactions, threads and pins.

The rows of a deleted channel may still be there for a while: no statement here finds them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from parley_server.backends.projected_messages import REACTING_USERS_SHOWN
from parley_server.backends.sqlite.channel_keys import LARGEST_SEQ, SEQ_BITS
from parley_server.ports.projections import MessageState, MessageStates, ReactionRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

_DENSE: Final = 4
"""Up to so many places per message asked for, one walk along them is quicker than a search for each."""

_LIVE_KEY: Final = (
    "(SELECT key FROM channel_key JOIN projected_channel ON channel = key "
    "WHERE channel_id = ?1 AND NOT deleted)"
)


def message_states(
    connection: apsw.Connection, channel_id: str, seqs: Sequence[int], viewer_id: str
) -> MessageStates:
    """See Projections. One transaction, and so one snapshot."""
    connection.execute("BEGIN")
    try:
        found = connection.execute(
            "SELECT channel, watermark, deleted FROM channel_key "
            "JOIN projected_head ON channel = key JOIN projected_channel USING (channel) "
            "WHERE channel_id = ?",
            (channel_id,),
        ).fetchone()
        if found is None:
            return MessageStates(0, {}, {})
        key, watermark, deleted = found
        if deleted:
            return MessageStates(watermark, {}, {}, deleted=True)
        erased = connection.execute("SELECT user_id, seq FROM erased_author WHERE channel = ?", (key,))
        erased_authors = {user_id: seq for user_id, seq in erased}
        return MessageStates(watermark, _states(connection, key, seqs, viewer_id), erased_authors)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


_STATE_COLUMNS: Final = (
    "place, edit_seq, edit_time_ms, delete_seq, pin_seq, reply_count, last_reply_seq FROM "
)


def _states(
    connection: apsw.Connection, key: int, seqs: Sequence[int], viewer_id: str
) -> dict[int, MessageState]:
    wanted = {seq for seq in seqs if 1 <= seq <= LARGEST_SEQ}
    if not wanted:
        return {}
    start = key << SEQ_BITS
    first, last = min(wanted), max(wanted)
    if last - first < _DENSE * len(wanted):
        found = connection.execute(
            f"SELECT {_STATE_COLUMNS} message_state WHERE place BETWEEN ? AND ?",
            (start + first, start + last),
        )
    else:
        found = connection.execute(
            f"SELECT {_STATE_COLUMNS} json_each(?) JOIN message_state ON place = value",
            (json.dumps([start + seq for seq in wanted]),),
        )
    rows = {place - start: columns for place, *columns in found if place - start in wanted}
    if not rows:
        return {}
    reactions = _reactions(connection, start, list(rows), viewer_id)
    return {
        seq: replace(MessageState(seq, *columns), reactions=tuple(reactions.get(seq, ())))
        for seq, columns in rows.items()
    }


_REACTIONS: Final = (
    "SELECT place, emoji, count, "
    "(SELECT json_group_array(user_id) FROM (SELECT user_id FROM message_reaction AS shown "
    "WHERE shown.place = message_emoji.place AND shown.emoji = message_emoji.emoji "
    f"ORDER BY seq LIMIT {REACTING_USERS_SHOWN})), "
    "EXISTS (SELECT 1 FROM message_reaction AS own WHERE own.place = message_emoji.place "
    "AND own.user_id = ?2 AND own.emoji = message_emoji.emoji) "
    "FROM json_each(?1) JOIN message_emoji ON place = value ORDER BY place, first_seq"
)


def _reactions(
    connection: apsw.Connection, start: int, seqs: Sequence[int], viewer_id: str
) -> dict[int, list[ReactionRow]]:
    reactions: dict[int, list[ReactionRow]] = {}
    places = json.dumps([start + seq for seq in seqs])
    for place, emoji, count, user_ids, own in connection.execute(_REACTIONS, (places, viewer_id)):
        row = ReactionRow(emoji, count, tuple(json.loads(user_ids)), bool(own))
        reactions.setdefault(place - start, []).append(row)
    return reactions


def edits_of(connection: apsw.Connection, channel_id: str, seq: int) -> tuple[int, ...]:
    """See Projections."""
    found = _of_message(
        connection, "SELECT seq FROM message_edit WHERE place = {place} ORDER BY seq", channel_id, seq
    )
    return tuple(edit_seq for (edit_seq,) in found)


def own_reactions(connection: apsw.Connection, channel_id: str, seq: int, user_id: str) -> frozenset[str]:
    """See Projections."""
    found = _of_message(
        connection,
        "SELECT emoji FROM message_reaction WHERE place = {place} AND user_id = ?3",
        channel_id,
        seq,
        user_id,
    )
    return frozenset(emoji for (emoji,) in found)


def thread(
    connection: apsw.Connection, channel_id: str, root_seq: int, before_seq: int, limit: int
) -> tuple[int, ...]:
    """See Projections."""
    found = _of_message(
        connection,
        "SELECT seq FROM message_reply WHERE place = {place} AND seq < ?3 ORDER BY seq DESC LIMIT ?4",
        channel_id,
        root_seq,
        before_seq,
        limit,
    )
    return tuple(seq for (seq,) in found)


def _of_message(
    connection: apsw.Connection, sql: str, channel_id: str, seq: int, *bindings: Any
) -> list[tuple[Any, ...]]:
    # The places beyond a channel's are another channel's.
    if not 1 <= seq <= LARGEST_SEQ:
        return []
    place = f"({_LIVE_KEY} << {SEQ_BITS}) + ?2"
    return list(connection.execute(sql.format(place=place), (channel_id, seq, *bindings)))


def pins(connection: apsw.Connection, channel_id: str) -> tuple[tuple[int, str], ...]:
    """See Projections."""
    found = connection.execute(
        f"SELECT place & {LARGEST_SEQ}, pin_author_id FROM message_state WHERE pin_seq > 0 "
        f"AND place BETWEEN {_LIVE_KEY} << {SEQ_BITS} AND ({_LIVE_KEY} << {SEQ_BITS}) + {LARGEST_SEQ} "
        "ORDER BY pin_seq DESC",
        (channel_id,),
    )
    return tuple((seq, author_id) for seq, author_id in found)
