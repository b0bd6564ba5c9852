"""A gRPC client that costs less than the server it loads: HTTP/2 framing by hand, just what a load needs.

It does not check the server: it takes frames as they come, and fails loudly on what it does not expect. One
connection takes at most 2 GiB in all, since it opens its windows once and for all.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import hpack

if TYPE_CHECKING:
    from collections.abc import Callable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST_WINDOW = 2**31 - 1
FIRST_WINDOW = 65_535
FRAME_LIMIT_BYTES = 16_384

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20
INITIAL_WINDOW_SIZE = 4

Headers = dict[str, str]


class WireError(Exception):
    """The server ended a connection or a call, or said something that this client does not know."""


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">HBBBL", len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream_id) + payload


def prefixed(message: bytes) -> bytes:
    """A gRPC message with its prefix, not compressed."""
    return struct.pack(">BL", 0, len(message)) + message


@dataclass(slots=True)
class _Call:
    on_message: Callable[[bytes], None]
    on_end: Callable[[Headers], None]
    window: int
    partial: bytes = b""


class Connection(asyncio.Protocol):
    """One connection. Calls are started by `start` and written to by `send`; callbacks run on the loop.

    `on_lost` gets the reason when the connection is gone without `close` having been called.
    """

    def __init__(self, authority: str, token: str, on_lost: Callable[[Exception], None]) -> None:
        self._authority = authority
        self._token = token
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._header_blocks: dict[str, bytes] = {}
        self._header_flags = 0
        self._header_block = b""
        self._calls: dict[int, _Call] = {}
        self._next_id = 1
        self._window = FIRST_WINDOW
        self._call_window = FIRST_WINDOW
        self._waiting: list[tuple[int, bytes, bool]] = []
        self._rest = b""
        self._unanswered: deque[asyncio.Future[None] | None] = deque()
        self._closing = False

    # What the load does

    def start(self, path: str, on_message: Callable[[bytes], None], on_end: Callable[[Headers], None]) -> int:
        """Begin a call. `on_end` gets the trailers. Returns the call's id for `send`."""
        call_id = self._next_id
        self._next_id += 2
        self._calls[call_id] = _Call(on_message, on_end, self._call_window)
        self._write(frame(HEADERS, END_HEADERS, call_id, self._headers(path)))
        return call_id

    def send(self, call_id: int, message: bytes, *, end: bool = False) -> None:
        """Write a message of at most 16,379 bytes, at once or when the windows allow it."""
        payload = prefixed(message)
        if len(payload) > FRAME_LIMIT_BYTES:
            raise ValueError(f"{len(payload)} bytes do not fit one frame")
        if self._waiting or not self._put(call_id, payload, end):
            self._waiting.append((call_id, payload, end))

    def deliver_to(self, call_id: int, on_message: Callable[[bytes], None]) -> None:
        """From the next message of the call on, call this."""
        self._calls[call_id].on_message = on_message

    async def allow(self, window: int) -> None:
        """Let the server send so many bytes on each call, those it sent already included; 0: no more.

        Returns when the server has obeyed. Raises WireError if the connection ends before.
        """
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unanswered.append(answered)
        self._write(frame(SETTINGS, 0, 0, struct.pack(">HL", INITIAL_WINDOW_SIZE, window)))
        await answered

    def close(self) -> None:
        """Close the connection; calls on it just end."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    # What the loop does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an instance: uvloop's transports are classes of their own.
        self._transport = cast("asyncio.Transport", transport)
        settings = struct.pack(">HL", INITIAL_WINDOW_SIZE, LARGEST_WINDOW)
        grow = struct.pack(">L", LARGEST_WINDOW - FIRST_WINDOW)
        self._unanswered.append(None)
        self._write(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, grow))

    def connection_lost(self, exc: Exception | None) -> None:
        for answered in self._unanswered:
            if answered is not None and not answered.done():
                answered.set_exception(WireError("the connection ended before the server obeyed"))
        if not self._closing:
            self._closing = True
            self._on_lost(exc or WireError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        try:
            while end - position >= 9:
                start = position + 9
                stop = start + (data[position] << 16 | data[position + 1] << 8 | data[position + 2])
                if stop > end:
                    break
                kind, flags = data[position + 3], data[position + 4]
                stream_id = int.from_bytes(data[position + 5 : start], "big")
                position = stop
                if kind == DATA:
                    self._data(stream_id, flags, data[start:stop])
                else:
                    self._other(kind, stream_id, flags, data[start:stop])
        except Exception as error:
            if not self._closing:
                self.close()
                self._on_lost(error)
        self._rest = data[position:]

    # Below

    def _headers(self, path: str) -> bytes:
        block = self._header_blocks.get(path)
        if block is not None:
            return block
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", self._authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("authorization", f"Bearer {self._token}"),
        ]
        first = self._encoder.encode(fields, huffman=False)
        # A new path moves what stands in the table. From the second time on all fields are found there, so
        # the block stays the same until the next new path.
        self._header_blocks = {path: self._encoder.encode(fields, huffman=False)}
        return first

    def _write(self, encoded: bytes) -> None:
        if self._transport is None:
            raise WireError("not connected")
        self._transport.write(encoded)

    def _put(self, call_id: int, payload: bytes, end: bool) -> bool:
        call = self._calls.get(call_id)
        if call is None:
            return True
        size = len(payload)
        if size > self._window or size > call.window:
            return False
        self._window -= size
        call.window -= size
        self._write(frame(DATA, END_STREAM if end else 0, call_id, payload))
        return True

    def _flush(self) -> None:
        while self._waiting and self._put(*self._waiting[0]):
            del self._waiting[0]

    def _data(self, stream_id: int, flags: int, payload: bytes) -> None:
        call = self._calls.get(stream_id)
        if call is None:
            return
        if flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if call.partial:
            payload = call.partial + payload
        position, end = 0, len(payload)
        while end - position >= 5:
            start = position + 5
            stop = start + int.from_bytes(payload[position + 1 : start], "big")
            if stop > end:
                break
            position = stop
            call.on_message(payload[start:stop])
        call.partial = payload[position:]
        if flags & END_STREAM:
            raise WireError("the server ended a call without trailers")

    def _other(self, kind: int, stream_id: int, flags: int, payload: bytes) -> None:
        if kind == HEADERS:
            if flags & PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            if flags & PRIORITY:
                payload = payload[5:]
            self._header_flags, self._header_block = flags, payload
            if flags & END_HEADERS:
                self._received_headers(stream_id)
        elif kind == CONTINUATION:
            self._header_block += payload
            if flags & END_HEADERS:
                self._received_headers(stream_id)
        elif kind == SETTINGS:
            if flags & ACK:
                self._settings_obeyed()
            else:
                self._settings(payload)
        elif kind == PING:
            if not flags & ACK:
                self._write(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            (grown,) = struct.unpack(">L", payload)
            if stream_id == 0:
                self._window += grown
            elif stream_id in self._calls:
                self._calls[stream_id].window += grown
            self._flush()
        elif kind == RST_STREAM:
            call = self._calls.pop(stream_id, None)
            if call is not None:
                call.on_end({"grpc-status": "", "grpc-message": f"reset: {int.from_bytes(payload, 'big')}"})
        elif kind == GOAWAY:
            raise WireError(f"the server said GOAWAY: {payload[8:]!r}")

    def _settings_obeyed(self) -> None:
        answered = self._unanswered.popleft()
        if answered is not None and not answered.done():
            answered.set_result(None)

    def _settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HL", payload):
            if name == INITIAL_WINDOW_SIZE:
                for call in self._calls.values():
                    call.window += value - self._call_window
                self._call_window = value
        self._write(frame(SETTINGS, ACK, 0, b""))
        self._flush()

    def _received_headers(self, stream_id: int) -> None:
        # Every block must be read: it may change the table that later blocks refer to.
        fields = self._decoder.decode(self._header_block)
        if self._header_flags & END_STREAM:
            call = self._calls.pop(stream_id, None)
            if call is not None:
                call.on_end({_text(name): _text(value) for name, value in fields})


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


async def connect(address: str, token: str, on_lost: Callable[[Exception], None]) -> Connection:
    """Connect to `host:port` with a bearer token. Raises OSError."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(address, token, on_lost), host, int(port))
    return connection
