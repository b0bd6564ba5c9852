"""The other side of a connection, in the hands of a test: frames in, frames out."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import hpack

from parley_wire import frames
from parley_wire.connection import Connection
from parley_wire.events import ConnectionFailed, StreamEnded
from parley_wire.headers import encode
from parley_wire.limits import Limits

if TYPE_CHECKING:
    from parley_wire.errors import ErrorCode
    from parley_wire.events import Event
    from parley_wire.headers import Field
    from parley_wire.settings import Settings

REQUEST: tuple[Field, ...] = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/test.Service/Method"),
    (b":authority", b"localhost"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
)
RESPONSE: tuple[Field, ...] = ((b":status", b"200"), (b"content-type", b"application/grpc"))


@dataclass(slots=True, frozen=True)
class Frame:
    """One frame as it was on the wire."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        return frames.uint32(self.payload, 0 if self.kind == frames.RST_STREAM else 4)

    @property
    def number(self) -> int:
        """The first four bytes as a number."""
        return frames.uint32(self.payload)


def split(data: bytes) -> list[Frame]:
    """The frames in these bytes, which must be whole; a client's preface may stand before them."""
    found: list[Frame] = []
    offset = len(frames.PREFACE) if data.startswith(frames.PREFACE) else 0
    while offset < len(data):
        high, low, kind, flags, stream_id = frames.HEAD.unpack_from(data, offset)
        offset += frames.HEAD_BYTES
        length = high << 16 | low
        assert offset + length <= len(data), "a frame is cut"
        found.append(Frame(kind, flags, stream_id, data[offset : offset + length]))
        offset += length
    return found


class Peer:
    """Talks to a Connection under test. Time stands still unless a test moves `now`."""

    def __init__(
        self, *, client: bool = False, limits: Limits | None = None, settings: Settings | None = None
    ) -> None:
        """`client`: the role of the connection UNDER TEST."""
        self.connection = Connection(client=client, limits=limits or Limits(), settings=settings)
        self.now = 1000.0
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.connection.start()

    def shake_hands(self, pairs: tuple[tuple[int, int], ...] = ()) -> Peer:
        """Exchange prefaces and SETTINGS, and forget what was sent."""
        preface = b"" if self.connection.client else frames.PREFACE
        self.feed(preface + frames.settings(pairs), frames.SETTINGS_ACK)
        self.sent()
        return self

    def feed(self, *parts: bytes) -> list[Event]:
        """Send bytes; returns what the connection told its owner."""
        events: list[Event] = []
        for part in parts:
            events += self.connection.receive(part, self.now)
            while self.connection.has_more:
                events += self.connection.receive(b"", self.now)
        return events

    def sent(self) -> list[Frame]:
        """The frames that the connection wrote since the last time, as one write would carry them."""
        written = b""
        while self.connection.sender.has_more:
            written += self.connection.sender.take()
        return split(written)

    def request(
        self, stream_id: int = 1, *, end_stream: bool = False, fields: tuple[Field, ...] = ()
    ) -> bytes:
        """A request's HEADERS."""
        return frames.headers(stream_id, encode(REQUEST + fields), end_stream=end_stream)

    def failure(self, events: list[Event]) -> ErrorCode | None:
        """The code with which the connection was given up, if it was: in the events AND on the wire."""
        codes = [event.code for event in events if isinstance(event, ConnectionFailed)]
        if not codes:
            return None
        goaways = [frame for frame in self.sent() if frame.kind == frames.GOAWAY]
        assert goaways and goaways[-1].code == codes[0], "the peer was not told"
        assert self.connection.failed
        return codes[0]

    def cut(self, events: list[Event], stream_id: int = 1) -> ErrorCode | None:
        """The code with which a stream was reset for what its peer did: in the events AND on the wire."""
        codes = [
            event.code
            for event in events
            if isinstance(event, StreamEnded) and event.stream.id == stream_id and not event.remote
        ]
        resets = [
            frame for frame in self.sent() if frame.kind == frames.RST_STREAM and frame.stream_id == stream_id
        ]
        assert not codes or (resets and resets[-1].code == codes[0]), "the peer was not told"
        return codes[0] if codes else None


def padded(kind: int, flags: int, stream_id: int, payload: bytes, padding: int) -> bytes:
    """A frame with padding."""
    body = bytes([padding]) + payload + b"\0" * padding
    return frames.frame(kind, flags | frames.PADDED, stream_id, body)


def message(data: bytes, flag: int = 0) -> bytes:
    """A gRPC message with its prefix."""
    return struct.pack(">BL", flag, len(data)) + data
