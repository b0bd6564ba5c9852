"""Frames other than DATA and header blocks, as they come (RFC 9113, sections 6.3 to 6.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_wire import frames
from parley_wire.errors import ErrorCode, error_code
from parley_wire.events import GoAwayReceived, PingAcknowledged, SettingsReceived, StreamEnded
from parley_wire.frames import ACK
from parley_wire.meter import Meter
from parley_wire.settings import SettingsFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from parley_wire.connection import Connection
    from parley_wire.limits import Limits
    from parley_wire.settings import Settings

# Moving the windows of so many streams costs us as much as another control frame.
_STREAMS_PER_COST = 50
# So do so many bytes of SETTINGS.
_SETTINGS_BYTES_PER_COST = 256


class IncomingControl:
    """Counts and handles control frames. Each one costs a piece of an allowance."""

    __slots__ = ("_meter", "_pings")

    def __init__(self, limits: Limits) -> None:
        self._meter = Meter(limits.control_frames_burst, limits.control_frames_per_second)
        self._pings: Meter | None = None

    def frame(self, connection: Connection, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Handle one frame. Unknown types are ignored (section 5.5)."""
        self.count(connection)
        if kind == frames.PING and not flags & ACK:
            if self._pings is None:
                self._pings = Meter(connection.limits.pings_burst, connection.limits.pings_per_second)
            if not self._pings.take(connection.now):
                connection.fail(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
        handler = _HANDLERS.get(kind)
        if handler is not None and not connection.failed:
            handler(connection, flags, stream_id, payload)

    def count(self, connection: Connection, cost: float = 1.0) -> None:
        """Take from the allowance; each DATA frame that the peer got gives two."""
        sender = connection.sender
        if sender.data_frames:
            self._meter.give(2.0 * sender.data_frames)
            if self._pings is not None:
                self._pings.give(sender.data_frames)
            sender.data_frames = 0
        if not self._meter.take(connection.now, cost):
            connection.fail(ErrorCode.ENHANCE_YOUR_CALM, "too many control frames")


def _priority(connection: Connection, _flags: int, stream_id: int, payload: bytes) -> None:
    """Section 6.3: checked, then ignored."""
    if stream_id == 0:
        connection.fail(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
    elif len(payload) != 5:
        if connection.streams.is_idle(stream_id):
            connection.fail(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY must have 5 bytes")
        else:
            connection.stream_error(stream_id, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY must have 5 bytes")
    elif frames.uint32(payload) & 0x7FFFFFFF == stream_id:
        connection.fail(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")


def _rst_stream(connection: Connection, _flags: int, stream_id: int, payload: bytes) -> None:
    """Section 6.4."""
    if len(payload) != 4:
        connection.fail(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM must have 4 bytes")
    elif connection.is_idle(stream_id):
        connection.fail(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on a stream that is idle")
    elif (stream := connection.streams.open.get(stream_id)) is not None:
        if not connection.client and not connection.count_reset():
            connection.fail(ErrorCode.ENHANCE_YOUR_CALM, "too many streams were opened and reset")
            return
        connection.forget(stream, by_us=False)
        connection.emit(StreamEnded(stream, error_code(frames.uint32(payload)), remote=True))


def _settings(connection: Connection, flags: int, stream_id: int, payload: bytes) -> None:
    """Section 6.5."""
    if stream_id != 0:
        connection.fail(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
    elif flags & ACK:
        if payload:
            connection.fail(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS with ACK must be empty")
        else:
            connection.local_in_force()
    elif len(payload) % 6:
        connection.fail(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS must hold whole settings")
    else:
        connection.control.count(connection, len(payload) / _SETTINGS_BYTES_PER_COST)
        if connection.failed:
            return
        changed = connection.remote.changed(frames.setting_pairs(payload), by_server=connection.client)
        if isinstance(changed, SettingsFault):
            connection.fail(changed.code, changed.reason)
        else:
            _remote_in_force(connection, changed)


def _push_promise(connection: Connection, _flags: int, _stream_id: int, _payload: bytes) -> None:
    """Section 6.6: a server never gets one, and as a client we forbid it."""
    connection.fail(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE is not allowed")


def _ping(connection: Connection, flags: int, stream_id: int, payload: bytes) -> None:
    """Section 6.7."""
    if stream_id != 0:
        connection.fail(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
    elif len(payload) != 8:
        connection.fail(ErrorCode.FRAME_SIZE_ERROR, "PING must have 8 bytes")
    elif not flags & ACK:
        connection.sender.control(frames.ping(payload, ack=True))
    else:
        if payload == frames.SHUTDOWN_PING and connection.shutting_down:
            connection.finish_shutdown()
        connection.emit(PingAcknowledged(payload))


def _goaway(connection: Connection, _flags: int, stream_id: int, payload: bytes) -> None:
    """Section 6.8."""
    if stream_id != 0:
        connection.fail(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
    elif len(payload) < 8:
        connection.fail(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY must have 8 bytes or more")
    else:
        last = frames.uint32(payload) & 0x7FFFFFFF
        event = GoAwayReceived(
            last, error_code(frames.uint32(payload, 4)), payload[8 : 8 + frames.DEBUG_BYTES]
        )
        connection.peer_goaway = event
        connection.emit(event)


def _window_update(connection: Connection, _flags: int, stream_id: int, payload: bytes) -> None:
    """Section 6.9."""
    if len(payload) != 4:
        connection.fail(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE must have 4 bytes")
        return
    increment = frames.uint32(payload) & 0x7FFFFFFF
    if stream_id == 0:
        if increment == 0:
            connection.fail(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        elif not connection.sender.window_opened(increment):
            connection.fail(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is too large")
        return
    stream = connection.streams.open.get(stream_id)
    if stream is None:
        if connection.is_idle(stream_id):
            connection.fail(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE on a stream that is idle")
    elif increment == 0:
        connection.stream_error(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
    elif not connection.sender.stream_window_opened(stream, increment):
        connection.stream_error(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is too large")


def _continuation(connection: Connection, _flags: int, _stream_id: int, _payload: bytes) -> None:
    """Section 6.10."""
    connection.fail(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")


def _remote_in_force(connection: Connection, settings: Settings) -> None:
    before, connection.remote = connection.remote, settings
    connection.awaits_settings = False
    sender = connection.sender
    shift = settings.window_bytes - sender.initial_window
    if shift:
        # Windows of open streams move with it, below zero if need be; the connection's does not (6.9.2).
        connection.control.count(connection, len(connection.streams.open) / _STREAMS_PER_COST)
        sender.initial_window = settings.window_bytes
        for stream in list(connection.streams.open.values()):
            if not sender.stream_window_opened(stream, shift):
                connection.fail(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is too large")
                return
    if settings.header_table_bytes < before.header_table_bytes:
        sender.table_lowered()
    sender.control(frames.SETTINGS_ACK)
    connection.emit(SettingsReceived())


_HANDLERS: dict[int, Callable[[Connection, int, int, bytes], None]] = {
    frames.PRIORITY: _priority,
    frames.RST_STREAM: _rst_stream,
    frames.SETTINGS: _settings,
    frames.PUSH_PROMISE: _push_promise,
    frames.PING: _ping,
    frames.GOAWAY: _goaway,
    frames.WINDOW_UPDATE: _window_update,
    frames.CONTINUATION: _continuation,
}
