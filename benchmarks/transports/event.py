"""What is sent: events of a chat message's size that begin with a time and a number."""

from __future__ import annotations

import struct

EVENT_BYTES = 304
_STAMP = struct.Struct(">QQ")
_REST = bytes(range(32, 127)) * 4


def events(number: int, count: int, due: int = 0) -> bytes:
    """So many events as one message, joined as an outbox joins them. `due` is the time that it carries.

    The load generator reads the first one's stamp: it must find every number, in order, on each connection.
    """
    first = _STAMP.pack(due, number) + _REST[: EVENT_BYTES - _STAMP.size]
    return first if count == 1 else first + _REST[:EVENT_BYTES] * (count - 1)
