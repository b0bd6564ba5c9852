"""Header blocks as they come: HEADERS and CONTINUATION, decoded, checked, made into events.

Every block is decoded, those of refused and reset streams too, or the compression tables of the two ends
would differ (RFC 9113, section 4.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_wire import fields, frames
from parley_wire.errors import ErrorCode
from parley_wire.events import RequestReceived, ResponseReceived, TrailersReceived
from parley_wire.frames import CONTINUATION, END_HEADERS, END_STREAM, PADDED, PRIORITY_FIELDS
from parley_wire.headers import BlockFault, HeaderDecoder, HeaderList

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from parley_wire.connection import Connection
    from parley_wire.headers import Field
    from parley_wire.limits import Limits
    from parley_wire.stream import Stream

# More fields than calls have, and how many of them cost us as much as a control frame.
_USUAL_FIELDS = 64
_FIELDS_PER_COST = 8


class IncomingHeaders:
    """The receiving side of header blocks of one connection."""

    __slots__ = ("_block", "_continuations", "_decoder", "_end_stream", "_stream_id", "since")

    def __init__(self, limits: Limits) -> None:
        self._decoder = HeaderDecoder(limits.header_list_hard_bytes)
        # When the present block began, None outside of one: only its CONTINUATION may follow (section 6.10).
        self.since: float | None = None
        self._block = b""
        self._stream_id = 0
        self._end_stream = False
        self._continuations = 0

    def trim(self) -> None:
        """Give back what only a busy connection needs."""
        self._decoder.trim()

    def headers(
        self, connection: Connection, flags: int, stream_id: int, payload: bytes, since: float
    ) -> None:
        """HEADERS (section 6.2), whose first byte came at `since`."""
        if stream_id == 0:
            connection.fail(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
            return
        start, end = 0, len(payload)
        if flags & PADDED:
            if end == 0:
                connection.fail(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without its fields")
                return
            start, end = 1, end - payload[0]
        if flags & PRIORITY_FIELDS:
            if start + 5 > len(payload):
                connection.fail(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without its fields")
                return
            if frames.uint32(payload, start) & 0x7FFFFFFF == stream_id:
                connection.fail(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")
                return
            start += 5
        if start > end:
            connection.fail(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
            return
        block = payload[start:end]
        self._stream_id = stream_id
        self._end_stream = bool(flags & END_STREAM)
        if flags & END_HEADERS:
            self._complete(connection, block)
        else:
            self.since = since
            self._block = block
            self._continuations = 0

    def continuation(
        self, connection: Connection, kind: int, flags: int, stream_id: int, payload: bytes
    ) -> None:
        """The frame after an unfinished block: it must go on with it (section 6.10)."""
        limits = connection.limits
        if kind != CONTINUATION or stream_id != self._stream_id:
            connection.fail(ErrorCode.PROTOCOL_ERROR, "another frame inside a header block")
            return
        self._continuations += 1
        self._block += payload
        if self._continuations > limits.continuation_frames or len(self._block) > limits.header_block_bytes:
            connection.fail(ErrorCode.ENHANCE_YOUR_CALM, "a header block is too long")
            return
        if flags & END_HEADERS:
            block, self._block = self._block, b""
            self.since = None
            self._complete(connection, block)

    def _complete(self, connection: Connection, block: bytes) -> None:
        try:
            headers = self._decoder.decode(block)
        except BlockFault as fault:
            connection.fail(fault.code, fault.reason)
            return
        extra = len(headers.fields) - _USUAL_FIELDS
        if extra > 0:
            # A field of one byte costs as much to decode and to check as a frame.
            connection.control.count(connection, extra / _FIELDS_PER_COST)
            if connection.failed:
                return
        stream = connection.streams.open.get(self._stream_id)
        if connection.client:
            self._response(connection, stream, headers)
        elif stream is not None:
            self._trailers(connection, stream, headers)
        else:
            self._request(connection, headers)

    def _request(self, connection: Connection, headers: HeaderList) -> None:
        streams = connection.streams
        stream_id = self._stream_id
        if not streams.is_peers(stream_id):
            connection.fail(ErrorCode.PROTOCOL_ERROR, "a client's streams have odd numbers")
            return
        if stream_id > connection.takes_streams_up_to:
            # It was told, and will try elsewhere (section 6.8).
            connection.control.count(connection)
            return
        if not streams.is_idle(stream_id):
            tolerated = streams.late_frames_tolerated(stream_id)
            if tolerated is None:
                connection.fail(ErrorCode.PROTOCOL_ERROR, "stream numbers must grow")
            elif tolerated:
                connection.control.count(connection)
            else:
                connection.fail(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
            return
        limits = connection.limits
        if streams.peer_load >= limits.streams_per_connection:
            streams.highest_peer = stream_id
            connection.stream_error(stream_id, ErrorCode.REFUSED_STREAM, "there were too many of them")
            return
        fault = checked(headers, fields.request_fault)
        expected = fields.content_length(headers.fields)
        if fault or expected == -2 or (self._end_stream and expected > 0):
            streams.highest_peer = stream_id
            connection.stream_error(stream_id, ErrorCode.PROTOCOL_ERROR, fault or "content-length is wrong")
            return
        stream = connection.accept(stream_id)
        stream.expected_bytes = expected
        if self._end_stream:
            connection.remote_side_ended(stream)
        too_large = headers.size_bytes > limits.header_list_bytes
        connection.emit(RequestReceived(stream, headers, self._end_stream, too_large))

    def _response(self, connection: Connection, stream: Stream | None, headers: HeaderList) -> None:
        streams = connection.streams
        stream_id = self._stream_id
        if stream is None:
            if streams.is_peers(stream_id) or streams.is_idle(stream_id):
                connection.fail(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that is not open")
            elif streams.late_frames_tolerated(stream_id) is False:
                connection.stream_error(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS came after the end")
            return
        if stream.final_received:
            self._trailers(connection, stream, headers)
            return
        fault = checked(headers, fields.response_fault)
        informational = not fault and dict(headers.fields)[b":status"][:1] == b"1"
        if informational and self._end_stream:
            fault = "an informational response cannot be the end"
        if fault:
            connection.stream_error(stream_id, ErrorCode.PROTOCOL_ERROR, fault)
            return
        stream.final_received = not informational
        if self._end_stream:
            connection.remote_side_ended(stream)
        connection.emit(ResponseReceived(stream, headers, self._end_stream))

    def _trailers(self, connection: Connection, stream: Stream, headers: HeaderList) -> None:
        if stream.remote_closed:
            connection.stream_error(stream.id, ErrorCode.STREAM_CLOSED, "HEADERS came after the end")
            return
        fault = checked(headers, fields.trailers_fault)
        if not self._end_stream:
            fault = "trailers must end the stream"
        elif stream.expected_bytes > 0:
            fault = "content-length is wrong"
        if fault:
            connection.stream_error(stream.id, ErrorCode.PROTOCOL_ERROR, fault)
            return
        connection.remote_side_ended(stream)
        connection.emit(TrailersReceived(stream, headers))


def checked(headers: HeaderList, fault: Callable[[Sequence[Field]], str]) -> str:
    """What `fault` says of the headers, asked once per distinct block."""
    if headers.checked_by is fault:
        return ""
    said = fault(headers.fields)
    if not said:
        headers.checked_by = fault
    return said
