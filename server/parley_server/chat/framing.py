"""Stream frames by joining bytes: a protobuf message is the concatenation of its fields.

A field is written once and shared by every stream that gets it; a frame is a join. Field numbers are those of
`parley.chat.v1.ConnectResponse` and `SubscribeResponse`, which agree (a test pins it). Pure.
"""

from __future__ import annotations

from functools import lru_cache

_EVENTS_TAG = b"\x0a"
_CURSOR_TAG = b"\x12"
_REPLIES_TAG = b"\x1a"
_CONTROLS_TAG = b"\x2a"


@lru_cache(maxsize=4096)
def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def event_field(event: bytes) -> bytes:
    """One entry of `events`, from an encoded Event."""
    return b"".join((_EVENTS_TAG, _varint(len(event)), event))


def cursor_field(cursor: str) -> bytes:
    """`cursor`. Joined after others it replaces them: the last one holds."""
    encoded = cursor.encode()
    return b"".join((_CURSOR_TAG, _varint(len(encoded)), encoded))


def reply_field(reply: bytes) -> bytes:
    """One entry of `replies`, from an encoded Reply."""
    return b"".join((_REPLIES_TAG, _varint(len(reply)), reply))


def control_field(control: bytes) -> bytes:
    """One entry of `controls`, from an encoded Control."""
    return b"".join((_CONTROLS_TAG, _varint(len(control)), control))
