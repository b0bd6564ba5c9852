"""HTTP/2 frames as bytes (RFC 9113, sections 4 and 6)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends before its first frame (section 3.4)."""

TLS_HANDSHAKE = b"\x16\x03"
"""What a client sends first that takes a plain-text port for one with TLS (RFC 8446, section 5.1)."""

# Frame types (section 6). Plain integers: they are compared once per frame.
DATA = 0x0
HEADERS = 0x1
PRIORITY = 0x2
RST_STREAM = 0x3
SETTINGS = 0x4
PUSH_PROMISE = 0x5
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9

# Flags. END_STREAM and ACK share a bit, on different frames.
END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FIELDS = 0x20

HEAD_BYTES = 9
DEFAULT_FRAME_BYTES = 16_384
"""The largest payload that every peer takes (section 4.2). We never send more, whatever a peer allows: a
larger frame would hold up the other streams of its connection."""
LARGEST_FRAME_BYTES = 2**24 - 1
LARGEST_WINDOW = 2**31 - 1
LARGEST_STREAM_ID = 2**31 - 1
DEBUG_BYTES = 256
"""How much of GOAWAY's text is sent and kept."""
SHUTDOWN_PING = b"goodbye!"
"""Sent behind the first GOAWAY of a shutdown: its answer says that the peer knows."""

HEAD = struct.Struct(">BHBBL")
"""High byte and low bytes of the payload's length, type, flags, stream id."""
_UINT32 = struct.Struct(">L")
_GOAWAY = struct.Struct(">LL")
_SETTING = struct.Struct(">HL")

MESSAGE_HEAD = struct.Struct(">BHBBLBL")
"""The head of a DATA frame and the prefix of one whole gRPC message in it: compressed flag, length."""


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """One frame. The payload must fit the peer's SETTINGS_MAX_FRAME_SIZE."""
    size = len(payload)
    return HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream_id) + payload


def headers(stream_id: int, block: bytes, *, end_stream: bool) -> bytes:
    """A header block as HEADERS and, where it is long, CONTINUATION frames (sections 6.2, 6.10)."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= DEFAULT_FRAME_BYTES:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    parts = [block[at : at + DEFAULT_FRAME_BYTES] for at in range(0, len(block), DEFAULT_FRAME_BYTES)]
    frames = [frame(HEADERS, flags, stream_id, parts[0])]
    frames += [frame(CONTINUATION, 0, stream_id, part) for part in parts[1:-1]]
    frames.append(frame(CONTINUATION, END_HEADERS, stream_id, parts[-1]))
    return b"".join(frames)


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """SETTINGS (section 6.5)."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values))


SETTINGS_ACK = frame(SETTINGS, ACK, 0, b"")


def ping(data: bytes, *, ack: bool) -> bytes:
    """PING with 8 bytes (section 6.7)."""
    return frame(PING, ACK if ack else 0, 0, data)


def rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM (section 6.4)."""
    return frame(RST_STREAM, 0, stream_id, _UINT32.pack(code))


def goaway(last_stream_id: int, code: int, debug: bytes) -> bytes:
    """GOAWAY (section 6.8)."""
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(last_stream_id, code) + debug)


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE (section 6.9); stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream_id, _UINT32.pack(increment))


def whole_message(stream_id: int, message: bytes) -> bytes:
    """A gRPC message, not compressed, in one DATA frame. It must have at most 16,379 bytes."""
    size = len(message)
    framed = size + 5
    return MESSAGE_HEAD.pack(framed >> 16, framed & 0xFFFF, DATA, 0, stream_id, 0, size) + message


def uint32(data: bytes, offset: int = 0) -> int:
    """Four bytes as a number."""
    return int(_UINT32.unpack_from(data, offset)[0])


def setting_pairs(payload: bytes) -> Iterable[tuple[int, int]]:
    """The identifiers and values of a SETTINGS payload, whose length must be a multiple of 6."""
    return _SETTING.iter_unpack(payload)
