"""The small numbers that stand for channels inside `chat.db`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import apsw

SEQ_BITS: Final = 32
LARGEST_SEQ: Final = (1 << SEQ_BITS) - 1
"""`place`, the key of a channel's rows, is the channel's number << SEQ_BITS | seq."""

KEY_OF: Final = "(SELECT key FROM channel_key WHERE channel_id = ?)"
"""For a reading statement: the key of the channel id bound here; NULL, which equals nothing, when it has
none.
"""


def find_key(connection: apsw.Connection, channel_id: str) -> int | None:
    """The channel's key, or None if it has none yet."""
    key: int | None = connection.execute(
        "SELECT key FROM channel_key WHERE channel_id = ?", (channel_id,)
    ).get
    return key


def make_key(connection: apsw.Connection, channel_id: str) -> int:
    """The channel's key, made in the open transaction if it has none yet."""
    key = find_key(connection, channel_id)
    if key is None:
        key = int(
            connection.execute(
                "INSERT INTO channel_key (channel_id) VALUES (?) RETURNING key", (channel_id,)
            ).get
        )
    return key
