"""How a client speaks to each kind of server: what it says first, and what it asks."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.transports.event import EVENT_BYTES, events

from parley_wire import frames
from parley_wire.headers import encode
from parley_wire.testing.peer import message

SERVICE = "bench.Streams"
ECHO = "Echo"
SUBSCRIBE = "Subscribe"
UNARY = "Unary"
UNARY_BYTES = 100

_LARGEST_WINDOW = 2**31 - 1
_INITIAL_WINDOW_SIZE = 4
_UPGRADE = (
    b"GET /streams HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Speech:
    """A plan for streamload: `protocol`, `opening` and `message` as it has them, where the number of an
    echoed message stands, and the stream of the first call.
    """

    protocol: str
    opening: bytes
    message: bytes
    stamp_at: int = 0
    first_call: int = 1


def stream(protocol: str, method: str) -> Speech:
    """One stream for each connection, open from the start; a message is one event."""
    event = events(0, 1)
    if protocol == "h2":
        asked = frames.whole_message(1, event)
        opening = _preface() + frames.headers(1, _request(method), end_stream=False)
        return Speech(protocol, opening, asked, len(asked) - EVENT_BYTES + 8)
    if protocol == "websocket":
        # FIN and binary; masked, with a length of two bytes; masked with zeros.
        head = b"\x82\xfe" + EVENT_BYTES.to_bytes(2, "big") + bytes(4)
        return Speech(protocol, _UPGRADE, head + event, len(head) + 8)
    return Speech(protocol, b"", event, 8)


def calls() -> Speech:
    """Connections without a stream; a message is a whole unary call."""
    return Speech("h2", _preface(), _call())


def stream_and_calls() -> Speech:
    """A stream for each connection, and unary calls beside it."""
    opening = _preface() + frames.headers(1, _request(SUBSCRIBE), end_stream=False)
    return Speech("h2", opening, _call(), first_call=3)


def _call() -> bytes:
    body = frames.frame(frames.DATA, frames.END_STREAM, 1, message(b"x" * UNARY_BYTES))
    return frames.headers(1, _request(UNARY), end_stream=False) + body


def _preface() -> bytes:
    """The windows are opened once and for all: 2 GiB for each connection."""
    opened = frames.window_update(0, _LARGEST_WINDOW - 65_535)
    return frames.PREFACE + frames.settings(((_INITIAL_WINDOW_SIZE, _LARGEST_WINDOW),)) + opened


def _request(method: str) -> bytes:
    return encode(
        [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", f"/{SERVICE}/{method}".encode()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        ]
    )
