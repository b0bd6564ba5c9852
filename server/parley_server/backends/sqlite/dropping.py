"""Dropping projected rows: of a deleted channel's messages once they are erased, and all to rebuild them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from parley_server.backends.sqlite.channel_keys import KEY_OF, LARGEST_SEQ, SEQ_BITS
from parley_server.backends.sqlite.schema import PROJECTED_TABLES
from parley_server.backends.sqlite.writer import Write

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from parley_server.backends.sqlite.applying import ApplyWrite

_DROPPED_AT_ONCE: Final = 1000


class ErasureDoneWrite(Write[tuple[str, int], bool]):
    """Takes an erasure off the list. When it is a deleted channel's, the rows of its messages go first, some
    with each request: False says that there are more.
    """

    durable = False

    def run(self, connection: apsw.Connection, requests: Sequence[tuple[str, int]]) -> list[bool | Exception]:
        return [self._finish(connection, *request) for request in requests]

    def _finish(self, connection: apsw.Connection, channel_id: str, seq: int) -> bool:
        ended: int | None = connection.execute(
            "SELECT channel FROM projected_channel JOIN projected_head USING (channel) "
            f"WHERE channel = {KEY_OF} AND deleted AND watermark = ?",
            (channel_id, seq),
        ).get
        if ended is not None and not _drop_some(connection, ended):
            return False
        connection.execute("DELETE FROM erasure_due WHERE channel_id = ? AND seq = ?", (channel_id, seq))
        return True


class ClearWrite(Write[None, None]):
    """Empties all projected tables, and what is cached of them."""

    def __init__(self, apply: ApplyWrite) -> None:
        self._apply = apply

    def run(self, connection: apsw.Connection, requests: Sequence[None]) -> list[Exception | None]:
        for table in PROJECTED_TABLES:
            connection.execute(f"DELETE FROM {table}")
        self._apply.forget()
        return [None] * len(requests)

    def forget(self) -> None:
        self._apply.forget()


def _drop_some(connection: apsw.Connection, key: int) -> bool:
    """Drop rows of the channel's messages, a bounded number. True when none is left."""
    first = key << SEQ_BITS
    for table, columns in _MESSAGE_TABLES:
        connection.execute(
            f"DELETE FROM {table} WHERE ({columns}) IN "
            f"(SELECT {columns} FROM {table} WHERE place BETWEEN ? AND ? LIMIT {_DROPPED_AT_ONCE})",
            (first, first + LARGEST_SEQ),
        )
        if connection.changes() == _DROPPED_AT_ONCE:
            return False
    return True


_MESSAGE_TABLES: Final = (
    ("message_reaction", "place, user_id, emoji"),
    ("message_emoji", "place, emoji"),
    ("message_edit", "place, seq"),
    ("message_reply", "place, seq"),
    ("message_state", "place"),
)
