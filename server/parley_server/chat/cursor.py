"""Cursors as clients keep them: opaque text, bound to a user. Pure."""

from __future__ import annotations

import zlib

from parley_server.ports.positions import FeedCursor

CURSOR_LIMIT_BYTES = 256
_VERSION = "1"


def cursor_prefix(user_id: str, epoch: str) -> str:
    """What the cursors of one user and epoch begin with; the position in decimal follows."""
    # The mark guards against mistakes, not against malice: a foreign cursor tells nothing about its user.
    return f"{_VERSION}.{zlib.crc32(user_id.encode()):08x}.{epoch}."


def cursor_text(user_id: str, cursor: FeedCursor) -> str:
    """The cursor for the user's devices."""
    return f"{cursor_prefix(user_id, cursor.epoch)}{cursor.position}"


def cursor_of(user_id: str, text: str) -> FeedCursor | None:
    """What `cursor_text` made, or None when the text is not a cursor of this user."""
    parts = text.split(".")
    if len(text.encode()) > CURSOR_LIMIT_BYTES or len(parts) != 4 or len(parts[3]) > 16:
        return None
    if not (parts[3].isascii() and parts[3].isdecimal()):
        return None
    cursor = FeedCursor(parts[2], int(parts[3]))
    return cursor if cursor_text(user_id, cursor) == text else None


def says_more(offered: FeedCursor, kept: FeedCursor | None, epoch: str) -> bool:
    """Whether a device that acknowledges `offered` after `kept` on a stream of this epoch is further: a
    cursor of another epoch never takes the place of one of this.
    """
    if kept is None:
        return True
    if offered.epoch == kept.epoch:
        return offered.position > kept.position
    return kept.epoch != epoch
