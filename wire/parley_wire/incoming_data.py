"""DATA as it comes: whose it is, and whether the windows allow it (RFC 9113, sections 6.1 and 6.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_wire.errors import ErrorCode
from parley_wire.events import DataReceived
from parley_wire.frames import END_STREAM, PADDED

if TYPE_CHECKING:
    from parley_wire.connection import Connection
    from parley_wire.stream import Stream


def data_frame(connection: Connection, flags: int, stream_id: int, payload: bytes) -> None:
    """Section 6.1. The whole payload, padding included, counts for flow control."""
    if connection.awaits_settings:
        connection.fail(ErrorCode.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        return
    size = len(payload)
    if not connection.window.received(size):
        connection.fail(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
        return
    stream = connection.streams.open.get(stream_id)
    if stream is None or stream.remote_closed:
        connection.credit(size)
        _data_for_none(connection, stream_id, stream)
        return
    end_stream = bool(flags & END_STREAM)
    if connection.client and not stream.final_received:
        connection.credit(size)
        connection.stream_error(stream_id, ErrorCode.PROTOCOL_ERROR, "DATA came before HEADERS")
        return
    if not stream.window.received(size):
        connection.credit(size)
        connection.stream_error(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "a stream's window was overrun")
        return
    if flags & PADDED:
        if size == 0 or payload[0] >= size:
            connection.fail(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
            return
        payload = payload[1 : size - payload[0]]
    kept = len(payload)
    if kept == 0 and not end_stream:
        connection.control.count(connection)
    if stream.expected_bytes >= 0:
        stream.expected_bytes -= kept
        if stream.expected_bytes < 0 or (end_stream and stream.expected_bytes):
            connection.credit(size)
            connection.stream_error(stream_id, ErrorCode.PROTOCOL_ERROR, "content-length is wrong")
            return
    stream.unread_bytes += size
    connection.unread_bytes += size
    if connection.unread_bytes > connection.limits.connection_unread_bytes:
        connection.withheld_bytes += size
    else:
        connection.credit(size)
    if size > kept:
        connection.consumed(stream, size - kept)
    if end_stream:
        connection.remote_side_ended(stream)
    connection.emit(DataReceived(stream, payload, end_stream))


def _data_for_none(connection: Connection, stream_id: int, stream: Stream | None) -> None:
    streams = connection.streams
    if stream_id == 0 or (
        stream is None and streams.is_idle(stream_id) and stream_id <= connection.takes_streams_up_to
    ):
        connection.fail(ErrorCode.PROTOCOL_ERROR, "DATA on a stream that is not open")
    elif stream_id > connection.takes_streams_up_to:
        connection.control.count(connection)
    elif stream is None and streams.late_frames_tolerated(stream_id) is not False:
        connection.control.count(connection)
    else:
        connection.stream_error(stream_id, ErrorCode.STREAM_CLOSED, "DATA came after the end")
