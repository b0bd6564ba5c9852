"""One HTTP/2 connection without any I/O (RFC 9113): bytes in, events out; commands in, bytes out.

The owner feeds `receive`, handles the events, and writes what `sender.take` gives, at best once per tick of
its loop. Whatever comes in, `receive` raises nothing: what the protocol or a limit forbids becomes RST_STREAM
with a `StreamEnded`, or GOAWAY with a `ConnectionFailed` after which the owner writes the rest and closes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from parley_wire import frames
from parley_wire.errors import ErrorCode, LocalProtocolError
from parley_wire.events import (
    ConnectionFailed,
    Event,
    GoAwayReceived,
    StreamEnded,
)
from parley_wire.flow import ReceiveWindow
from parley_wire.frames import ACK, DATA, HEAD, HEAD_BYTES, HEADERS, PREFACE, SETTINGS, TLS_HANDSHAKE
from parley_wire.incoming_control import IncomingControl
from parley_wire.incoming_data import data_frame
from parley_wire.incoming_headers import IncomingHeaders
from parley_wire.meter import Meter
from parley_wire.sender import Sender
from parley_wire.settings import DEFAULT_WINDOW_BYTES, PROTOCOL_DEFAULTS, Settings, announced_settings
from parley_wire.stream import Stream
from parley_wire.streams import Streams

if TYPE_CHECKING:
    from parley_wire.limits import Limits


SPEAKS_TLS = "the client speaks TLS where plain HTTP/2 is expected"
"""The reason of a ConnectionFailed whose client took the port for one with TLS."""

# Where in a frame's head its type stands (section 4.1).
_KIND_AT = 3


class Connection:
    """One end of a connection, the client's or the server's. Commands raise LocalProtocolError where said."""

    __slots__ = (
        "_awaits_preface",
        "_events",
        "_frame_since",
        "_headers",
        "_local",
        "_local_announced",
        "_resets",
        "_residue",
        "_turn_events",
        "awaits_settings",
        "client",
        "closed_streams",
        "control",
        "failed",
        "has_more",
        "header_since",
        "limits",
        "now",
        "peer_goaway",
        "remote",
        "sender",
        "shutting_down",
        "streams",
        "takes_streams_up_to",
        "unread_bytes",
        "window",
        "withheld_bytes",
    )

    def __init__(self, *, client: bool, limits: Limits, settings: Settings | None = None) -> None:
        """`settings` are what we announce; by default what follows from the limits."""
        self.client = client
        self.limits = limits
        self._local_announced: Settings | None = settings or announced_settings(limits, client=client)
        # Ours in force: the protocol's own until the peer acknowledged what we sent (section 6.5.3).
        self._local = PROTOCOL_DEFAULTS
        self.remote = PROTOCOL_DEFAULTS
        self.streams = Streams(client=client)
        self.sender = Sender(limits.flush_bytes, self._local_side_ended)
        # The connection was given up; nothing that comes is looked at any more.
        self.failed = False
        # Streams that closed, for whatever reason, since the owner last took them. None for none.
        self.closed_streams: list[Stream] | None = None
        self.peer_goaway: GoAwayReceived | None = None
        self.window = ReceiveWindow(DEFAULT_WINDOW_BYTES)
        self.unread_bytes = 0
        self.withheld_bytes = 0
        # The beginning of a frame whose rest has not come, and when its first byte came.
        self._residue = b""
        self._frame_since = 0.0
        # When the peer's present header block began, be it within its first frame. None outside of one.
        self.header_since: float | None = None
        self.has_more = False
        """Frames of the peer wait for another turn: `receive` goes on with them, also without new bytes."""
        self._turn_events = sys.maxsize if client else limits.events_per_turn
        self._awaits_preface = not client
        self.awaits_settings = True
        # Collected while `receive` runs, then handed over: an idle connection keeps none.
        self._events: list[Event] | None = None
        self.now = 0.0
        self.control = IncomingControl(limits)
        self._resets: Meter | None = None
        self.shutting_down = False
        # Above it, streams of the peer are ignored: our last GOAWAY named it.
        self.takes_streams_up_to = frames.LARGEST_STREAM_ID
        self._headers = IncomingHeaders(limits)

    # Input

    def start(self) -> None:
        """Put the preface in the output: call once, before anything else."""
        pending = self._local_announced
        assert pending is not None
        control = self.sender.control
        if self.client:
            control(PREFACE)
        control(frames.settings(pending.pairs()))
        extra = self.limits.connection_window_bytes - DEFAULT_WINDOW_BYTES
        if extra > 0:
            control(frames.window_update(0, extra))
            self.window.resize(self.limits.connection_window_bytes)

    def receive(self, data: bytes, now_seconds: float) -> list[Event]:
        """Take bytes from the peer. `now_seconds` is any clock that does not go backwards.

        A client's bytes are worked through until `events_per_turn` came of them; `has_more` says that some
        are left.
        """
        self.has_more = False
        if self.failed:
            return []
        self.now = now_seconds
        events: list[Event] = []
        self._events = events
        residue = self._residue
        if residue:
            data = residue + data
        offset = 0
        size = len(data)
        if self._awaits_preface:
            if not self._preface_came(data):
                self._events = None
                return events
            offset = len(PREFACE)
            residue = b""
        # When the first byte of the frame in hand came.
        since = self._frame_since if residue else now_seconds
        headers = self._headers
        unpack = HEAD.unpack_from
        while size - offset >= HEAD_BYTES:
            high, low, kind, flags, stream_id = unpack(data, offset)
            length = high << 16 | low
            if length > self._local.frame_bytes:
                self.fail(ErrorCode.FRAME_SIZE_ERROR, "a frame is larger than allowed")
                break
            end = offset + HEAD_BYTES + length
            if end > size:
                break
            payload = data[offset + HEAD_BYTES : end]
            offset = end
            stream_id &= 0x7FFFFFFF
            if kind == DATA and headers.since is None:
                data_frame(self, flags, stream_id, payload)
            else:
                self._frame(kind, flags, stream_id, payload, since)
            if self.failed:
                break
            since = now_seconds
            if len(events) >= self._turn_events:
                self.has_more = offset < size
                break
        self._events = None
        self._residue = b""
        if self.failed:
            return events
        self.header_since = headers.since
        if offset < size:
            self._residue = residue = data[offset:]
            self._frame_since = since
            if (
                not self.has_more
                and headers.since is None
                and len(residue) > _KIND_AT
                and residue[_KIND_AT] == HEADERS
            ):
                self.header_since = since
        return events

    # Commands

    def open_stream(self, block: bytes, *, end_stream: bool) -> Stream:
        """Client: send a request's headers. Raises LocalProtocolError when `can_open` is False."""
        if not self.can_open:
            raise LocalProtocolError("the connection takes no new stream now")
        streams = self.streams
        stream_id = streams.highest_local + 2 if streams.highest_local else 1
        stream = self._new_stream(stream_id)
        streams.add_local(stream)
        self.sender.headers(stream, block, end_stream=end_stream)
        return stream

    @property
    def can_open(self) -> bool:
        """Client: whether the peer takes one more stream."""
        return (
            self.client
            and not self.failed
            and self.peer_goaway is None
            and len(self.streams.open) < self.remote.streams
            and self.streams.highest_local < frames.LARGEST_STREAM_ID - 2
        )

    @property
    def held_bytes(self) -> int:
        """What waits here for the peer to take it, or for handlers to read it."""
        return self.sender.queued_bytes + self.unread_bytes

    def consumed(self, stream: Stream, size_bytes: int) -> None:
        """Bytes of a DataReceived are done with: let the peer send as many again."""
        size_bytes = min(size_bytes, stream.unread_bytes)
        if size_bytes <= 0:
            return
        stream.unread_bytes -= size_bytes
        self.unread_bytes -= size_bytes
        if self.withheld_bytes and self.unread_bytes <= self.limits.connection_unread_bytes:
            withheld, self.withheld_bytes = self.withheld_bytes, 0
            self.credit(withheld)
        if not stream.remote_closed:
            increment = stream.window.consumed(size_bytes)
            if increment:
                self.sender.control(frames.window_update(stream.id, increment))

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Cut a stream. What waits on it is dropped. A closed one is left alone."""
        if stream.closed:
            return
        self.sender.control(frames.rst_stream(stream.id, code))
        self.forget(stream, by_us=True)

    def release(self, stream: Stream) -> None:
        """The handler of a stream that was marked `held` has ended: it is no load any more."""
        self.streams.release(stream)

    def ping(self, data: bytes) -> None:
        """Send PING with 8 bytes; its answer is a PingAcknowledged."""
        self.sender.control(frames.ping(data, ack=False))

    def shut_down(self) -> None:
        """Take no new streams, in two steps: streams that are on their way still count (section 6.8)."""
        if self.shutting_down or self.failed:
            return
        self.shutting_down = True
        self.sender.control(frames.goaway(frames.LARGEST_STREAM_ID, ErrorCode.NO_ERROR, b""))
        self.ping(frames.SHUTDOWN_PING)

    @property
    def wants_flush(self) -> bool:
        """Whether there is something to write, or to tell somebody."""
        return bool(
            self.sender.has_more
            or self.closed_streams
            or self.sender.drained
            or self.failed
            or self.shutting_down
        )

    @property
    def shutdown_finished(self) -> bool:
        """Whether the peer was told which stream is the last."""
        return self.takes_streams_up_to != frames.LARGEST_STREAM_ID

    def finish_shutdown(self) -> None:
        """The second step: the last stream that counts is named. Comes by itself with the peer's answer."""
        if not self.shutdown_finished and not self.failed:
            self.takes_streams_up_to = self.streams.highest_peer
            self.sender.control(frames.goaway(self.takes_streams_up_to, ErrorCode.NO_ERROR, b""))

    def fail(self, code: ErrorCode, reason: str) -> None:
        """Give the connection up: GOAWAY to the output, ConnectionFailed to the events."""
        if self.failed:
            return
        self.failed = True
        self.header_since = None
        for stream in self.streams.open.values():
            self.sender.drop(stream)
        self.sender.control(
            frames.goaway(self.streams.highest_peer, code, reason.encode()[: frames.DEBUG_BYTES])
        )
        self.emit(ConnectionFailed(code, reason))

    def trim(self) -> None:
        """The peer has been silent for long: give back what only a busy connection needs."""
        self.streams.trim()
        self.sender.trim()
        self._headers.trim()

    def close(self) -> None:
        """The transport is gone: every stream is closed. Leaves no reference cycle behind."""
        self.failed = True
        for stream in list(self.streams.open.values()):
            self.forget(stream, by_us=False)
        self.sender.close()

    # For the handlers of frames

    def emit(self, event: Event) -> None:
        """Tell the owner; what it asked for itself it need not be told."""
        if self._events is not None:
            self._events.append(event)

    def accept(self, stream_id: int) -> Stream:
        """The peer opens a stream that fits every limit."""
        stream = self._new_stream(stream_id)
        self.streams.add_peer(stream)
        return stream

    def remote_side_ended(self, stream: Stream) -> None:
        stream.remote_closed = True
        if stream.local_closed:
            self.forget(stream, by_us=False)

    def stream_error(self, stream_id: int, code: ErrorCode, reason: str) -> None:
        """Reset a stream for what the peer did there; too many of these end the connection."""
        if not self.count_reset():
            self.fail(ErrorCode.ENHANCE_YOUR_CALM, f"too many streams were reset; the last because {reason}")
            return
        stream = self.streams.open.get(stream_id)
        if stream is None and self.streams.late_frames_tolerated(stream_id):
            # It was reset before, and once is enough (section 5.4.2).
            return
        self.sender.control(frames.rst_stream(stream_id, code))
        if stream is None:
            self.streams.remember(stream_id, tolerated=True)
        else:
            self.forget(stream, by_us=True)
            self.emit(StreamEnded(stream, code, remote=False))

    def is_idle(self, stream_id: int) -> bool:
        """Whether a frame on this stream is an error since no stream of the number was ever opened."""
        return stream_id == 0 or (self.streams.is_idle(stream_id) and stream_id <= self.takes_streams_up_to)

    def count_reset(self) -> bool:
        """Take one from the allowance of resets. False: it is used up."""
        if self._resets is None:
            self._resets = Meter(self.limits.resets_burst, self.limits.resets_per_second)
        return self._resets.take(self.now)

    def local_in_force(self) -> None:
        """The peer acknowledged our settings: it sends by them from here on (section 6.5.3)."""
        announced, self._local_announced = self._local_announced, None
        if announced is None:
            return
        resized = announced.window_bytes != self._local.window_bytes
        self._local = announced
        if resized:
            for stream in self.streams.open.values():
                stream.window.resize(announced.window_bytes)

    def forget(self, stream: Stream, *, by_us: bool) -> None:
        """The stream is closed: its unread bytes go back to the connection, its queue is dropped."""
        stream.local_closed = stream.remote_closed = True
        self.sender.drop(stream)
        self.consumed(stream, stream.unread_bytes)
        self.streams.remove(stream, by_us=by_us)
        if self.closed_streams is None:
            self.closed_streams = []
        self.closed_streams.append(stream)

    def credit(self, size_bytes: int) -> None:
        """Bytes of DATA do not fill the connection's window any more."""
        increment = self.window.consumed(size_bytes)
        if increment:
            self.sender.control(frames.window_update(0, increment))

    # Frames

    def _preface_came(self, data: bytes) -> bool:
        """Whether the client's preface is there (section 3.4). The beginning of one is kept for later."""
        seen = data[: len(PREFACE)]
        if not PREFACE.startswith(seen):
            tls = seen.startswith(TLS_HANDSHAKE)
            self.fail(ErrorCode.PROTOCOL_ERROR, SPEAKS_TLS if tls else "the client does not speak HTTP/2")
        elif len(seen) < len(PREFACE):
            self._residue = data
        else:
            self._awaits_preface = False
        return not self._awaits_preface

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes, since: float) -> None:
        if self._headers.since is not None:
            self._headers.continuation(self, kind, flags, stream_id, payload)
        elif self.awaits_settings and (kind != SETTINGS or flags & ACK):
            self.fail(ErrorCode.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        elif kind == HEADERS:
            self._headers.headers(self, flags, stream_id, payload, since)
        else:
            self.control.frame(self, kind, flags, stream_id, payload)

    # Inside

    def _new_stream(self, stream_id: int) -> Stream:
        return Stream(stream_id, self.sender.initial_window, ReceiveWindow(self._local.window_bytes))

    def _local_side_ended(self, stream: Stream) -> None:
        stream.local_closed = True
        if stream.remote_closed:
            self.forget(stream, by_us=False)
        elif not self.client:
            # The answer is complete: a client that still sends hears that nobody reads (section 8.1).
            self.reset(stream, ErrorCode.NO_ERROR)
