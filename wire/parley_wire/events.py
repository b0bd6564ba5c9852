"""What a connection tells its owner, in the order of the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parley_wire.errors import ErrorCode
    from parley_wire.headers import HeaderList
    from parley_wire.stream import Stream


@dataclass(slots=True)
class RequestReceived:
    """A client opened a stream. The server must end it: with its answer or by a reset."""

    stream: Stream
    headers: HeaderList
    end_stream: bool
    too_large: bool
    """The list is over the limit that we named: answer without looking at it."""


@dataclass(slots=True)
class ResponseReceived:
    """The server's headers: informational ones (status 1xx) may come before the final ones."""

    stream: Stream
    headers: HeaderList
    end_stream: bool


@dataclass(slots=True)
class TrailersReceived:
    """The last of what the peer says on this stream."""

    stream: Stream
    headers: HeaderList


@dataclass(slots=True)
class DataReceived:
    """Bytes of a body. Say `Connection.consumed` once they are done with, or the peer falls silent."""

    stream: Stream
    data: bytes
    end_stream: bool


@dataclass(slots=True)
class StreamEnded:
    """The stream was cut: by the peer's RST_STREAM (`remote`), or by ours, for what the peer did.

    Nothing comes or goes on it any more.
    """

    stream: Stream
    code: ErrorCode
    remote: bool


@dataclass(slots=True)
class SettingsReceived:
    """The peer's settings changed and are in force."""


@dataclass(slots=True)
class PingAcknowledged:
    """The peer answered a ping of ours."""

    data: bytes


@dataclass(slots=True)
class GoAwayReceived:
    """The peer takes no new streams; those of ours above `last_stream_id` were not looked at."""

    last_stream_id: int
    code: ErrorCode
    debug: bytes


@dataclass(slots=True)
class ConnectionFailed:
    """The peer broke the protocol or a limit. GOAWAY is in the output: write it and close."""

    code: ErrorCode
    reason: str


Event = (
    RequestReceived
    | ResponseReceived
    | TrailersReceived
    | DataReceived
    | StreamEnded
    | SettingsReceived
    | PingAcknowledged
    | GoAwayReceived
    | ConnectionFailed
)
