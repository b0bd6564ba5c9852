"""The clients of a load: devices on Connect and callers, which count what comes and parse next to nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from benchmarks.wire import Connection, Headers, connect

from parley.chat.v1 import message_requests_pb2, stream_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUND_LIMIT_SECONDS = 60.0
"""How long an order to a generator may take that names no `limit_seconds` of its own."""

CONNECT = "/parley.chat.v1.ChatService/Connect"

EVENTS_TAG, REPLIES_TAG, CONTROLS_TAG = 0x0A, 0x1A, 0x2A
SEND_REPLY = b"\x08\x01\x1a"
"""How a Reply to request 1 begins when it carries the answer to send_message."""
HEARTBEAT_REPLY = b"\x08\x01\x3a"


class Device(msgspec.Struct, frozen=True):
    """One client: its token, the channel it writes to or reads (empty: none), and the cursor it comes back
    with.
    """

    token: str
    channel_id: str = ""
    cursor: str = ""


class Plan(msgspec.Struct, frozen=True):
    """What a generator is made of. `kind`: "stream" opens a Connect stream per device, "reader" one
    that checks what comes, "unary" none.
    """

    address: str
    kind: str
    devices: list[Device]
    text: str = ""


class Failed(Exception):
    """The node refused or ended something that the measurement needs."""


def fields_of(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """(tag, start, stop) of each length-delimited field of a frame, by its one-byte tag."""
    position, end = 0, len(encoded)
    while position < end:
        tag = encoded[position]
        size = shift = 0
        while True:
            position += 1
            byte = encoded[position]
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        start = position + 1
        position = start + size
        yield tag, start, position


class Counter:
    """What all streams of this process received."""

    def __init__(self) -> None:
        self.events = self.frames = self.size_bytes = 0
        self.last_event_at = 0.0
        self.failure: Exception | None = None
        self.changed: Callable[[], None] | None = None

    def fail(self, error: Exception) -> None:
        """Keep the first failure and wake whoever waits."""
        self.failure = self.failure or error
        if self.changed is not None:
            self.changed()


class Stream:
    """One device on Connect: counts what comes, and has one request in flight at most."""

    def __init__(self, device: Device, counter: Counter) -> None:
        self.device = device
        self._counter = counter
        self._connection: Connection | None = None
        self._call_id = 0
        self._caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.replied: Callable[[bytes], None] | None = None

    async def open(self, address: str) -> None:
        """Connect, say hello, and wait until the stream is live."""
        self._connection = await connect(address, self.device.token, self._lost)
        self._call_id = self._connection.start(CONNECT, self._joining, self._ended)
        self.send(
            stream_pb2.ConnectRequest(
                hello=stream_pb2.Hello(client="parley-bench/1", foreground=False, cursor=self.device.cursor)
            ).SerializeToString()
        )
        await self._caught_up

    def send(self, request: bytes) -> None:
        """Write one encoded ConnectRequest."""
        assert self._connection is not None
        self._connection.send(self._call_id, request)

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()

    def _lost(self, error: Exception) -> None:
        if not self._caught_up.done():
            self._caught_up.set_exception(error)
        self._counter.fail(error)

    def _ended(self, trailers: Headers) -> None:
        self._lost(
            Failed(f"a stream ended: {trailers.get('grpc-status')} {trailers.get('grpc-message', '')}")
        )

    def _joining(self, encoded: bytes) -> None:
        response = stream_pb2.ConnectResponse.FromString(encoded)
        if any(control.WhichOneof("control") == "caught_up" for control in response.controls):
            assert self._connection is not None
            self._connection.deliver_to(self._call_id, self._live)
            self._caught_up.set_result(None)

    def _live(self, encoded: bytes) -> None:
        counter = self._counter
        counter.frames += 1
        counter.size_bytes += len(encoded)
        events = 0
        for tag, start, stop in fields_of(encoded):
            if tag == EVENTS_TAG:
                events += 1
            elif tag == REPLIES_TAG and self.replied is not None:
                self.replied(encoded[start:stop])
            elif tag == CONTROLS_TAG:
                self._control(encoded[start:stop])
        if events:
            counter.events += events
            if counter.changed is not None:
                counter.changed()

    def _control(self, encoded: bytes) -> None:
        control = stream_pb2.Control.FromString(encoded)
        if control.WhichOneof("control") == "go_away":
            reason = stream_pb2.GoAwayReason.Name(control.go_away.reason)
            self._lost(Failed(f"the node sent a stream away: {reason}"))


class Caller:
    """One device that makes unary calls, one at a time, on one connection."""

    def __init__(self, device: Device, counter: Counter) -> None:
        self.device = device
        self._counter = counter
        self._connection: Connection | None = None
        self._answer = b""
        self.answered: Callable[[bytes], None] | None = None

    async def open(self, address: str) -> None:
        """Connect."""
        self._connection = await connect(address, self.device.token, self._counter.fail)

    def call(self, path: str, request: bytes) -> None:
        """Make one call; `answered` gets the encoded answer."""
        assert self._connection is not None
        self._connection.send(self._connection.start(path, self._message, self._ended), request, end=True)

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()

    def _message(self, encoded: bytes) -> None:
        self._answer = encoded

    def _ended(self, trailers: Headers) -> None:
        if trailers.get("grpc-status") != "0":
            status, message = trailers.get("grpc-status"), trailers.get("grpc-message", "")
            self._counter.fail(Failed(f"a call failed: {status} {message}"))
        elif self.answered is not None:
            self._counter.frames += 1
            self._counter.size_bytes += len(self._answer)
            self.answered(self._answer)


def send_frame_around_id(channel_id: str, text: str) -> tuple[bytes, bytes]:
    """An encoded ConnectRequest (request 1, send_message) in two parts: the id (36 bytes) goes between."""
    placeholder = "0" * 36
    request = stream_pb2.ConnectRequest(
        request_id=1,
        send_message=message_requests_pb2.SendMessageRequest(
            channel_id=channel_id, client_message_id=placeholder, text=text
        ),
    )
    before, found, after = request.SerializeToString().partition(placeholder.encode())
    assert found
    return before, after
