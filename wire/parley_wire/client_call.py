"""The client's side of one call: bytes out, bytes in, a status at the end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NoReturn

import grpc

from parley_wire.compression import ENCODINGS
from parley_wire.errors import ErrorCode, WireError
from parley_wire.messages import MessageReader, plain, prefixed
from parley_wire.metadata import metadata_of
from parley_wire.request import is_grpc
from parley_wire.status import CallFault, code_of_http, code_of_reset, percent_decoded, status_code

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from parley_wire.client_connection import ClientConnection
    from parley_wire.headers import Field, HeaderList
    from parley_wire.messages import PackedMessage
    from parley_wire.metadata import Metadata
    from parley_wire.stream import Stream


class CallFailed(WireError):
    """A call ended with a status other than OK. `unprocessed`: the server said that it never looked at it, so
    that the call may be made again.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        details: str,
        trailing_metadata: Metadata = (),
        *,
        unprocessed: bool = False,
    ) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details
        self.trailing_metadata = trailing_metadata
        self.unprocessed = unprocessed


class ClientCall:
    """One open call. `write` and `read` may run at the same time, each by one task.

    Leave it by reading to the end or by `cancel`; `async with` cancels what was not ended.
    """

    def __init__(
        self, connection: ClientConnection, stream: Stream, receive_message_bytes: int, timeout: float | None
    ) -> None:
        """The channel makes calls. `timeout` are the seconds that are left."""
        self._connection = connection
        self._stream = stream
        self._limit_bytes = receive_message_bytes
        self._reader: MessageReader | None = None
        self._messages: deque[bytes | PackedMessage] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._failure: CallFailed | None = None
        self._ended = False
        # None until the server's headers came.
        self.initial_metadata: Metadata | None = None
        self.trailing_metadata: Metadata = ()
        self._deadline: asyncio.TimerHandle | None = None
        if timeout is not None:
            self._deadline = connection.loop.call_later(timeout, self._deadline_passed)

    # For the caller

    async def write(self, message: bytes) -> None:
        """Send one message; returns once it is on its way. Raises CallFailed when the call is over."""
        if not self._takes_more:
            self._raise_over()
        if not self.send(message):
            if self._room is None:
                self._room = self._connection.loop.create_future()
            await self._room
            if self._ended:
                self._raise_over()

    def send(self, message: bytes) -> bool:
        """Send without waiting. The bytes are taken unless the call is over; False says to wait with more."""
        if not self._takes_more:
            return False
        taken = self._connection.core.sender.data(self._stream, prefixed(message))
        self._connection.schedule()
        return taken

    def done_writing(self) -> None:
        """Say that no more messages follow."""
        stream = self._stream
        if not stream.local_closed and stream.ending is None:
            self._connection.core.sender.end(stream, b"")
            self._connection.schedule()

    async def read(self) -> bytes | None:
        """The next message; None once the call ended with OK. Raises CallFailed for another status."""
        while not self._messages:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            self._wake = self._connection.loop.create_future()
            await self._wake
        message = self._messages.popleft()
        self._connection.core.consumed(self._stream, len(message))
        self._connection.schedule()
        try:
            return plain(message)
        except CallFault as fault:
            failed = CallFailed(fault.code, fault.details)
            self._finish(failed, reset=True)
            raise failed from fault

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        message = await self.read()
        if message is None:
            raise StopAsyncIteration
        return message

    def cancel(self) -> None:
        """Give the call up, if it is not over."""
        self._finish(CallFailed(grpc.StatusCode.CANCELLED, "the caller cancelled"), reset=True)

    async def __aenter__(self) -> ClientCall:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()

    # For the connection

    def on_headers(self, headers: HeaderList, end_stream: bool) -> None:
        """The response began, or is trailers only."""
        values = dict(headers.fields)
        status = values[b":status"]
        if status[:1] == b"1":
            return
        if status != b"200" or not is_grpc(values.get(b"content-type", b"")):
            code = code_of_http(int(status))
            self._finish(CallFailed(code, f"the answer is not gRPC: HTTP status {int(status)}"), reset=True)
            return
        encoding = values.get(b"grpc-encoding", b"identity").decode("latin-1")
        if encoding not in ENCODINGS:
            reason = f"the server compresses by {encoding}"
            self._finish(CallFailed(grpc.StatusCode.INTERNAL, reason), reset=True)
            return
        self._reader = MessageReader(self._limit_bytes, encoding)
        if end_stream:
            self.on_trailers(headers)
            return
        try:
            self.initial_metadata = metadata_of(headers.fields)
        except CallFault as fault:
            self._finish(CallFailed(fault.code, fault.details), reset=True)

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """Bytes of the response. Its end without trailers is an error."""
        core = self._connection.core
        reader = self._reader
        if self._ended or reader is None:
            core.consumed(self._stream, len(data))
            return
        try:
            messages = reader.feed(data)
        except CallFault as fault:
            core.consumed(self._stream, len(data))
            self._finish(CallFailed(fault.code, fault.details), reset=True)
            return
        # An unfinished message is let through, so that one larger than the window can come.
        core.consumed(self._stream, max(0, len(data) - sum(map(len, messages))))
        self._messages.extend(messages)
        if end_stream:
            self._finish(CallFailed(grpc.StatusCode.INTERNAL, "the response has no trailers"))
        elif messages:
            self._awake()

    def on_trailers(self, headers: HeaderList) -> None:
        """The status."""
        values: dict[bytes, bytes] = {}
        fields: list[Field] = headers.fields
        for name, value in fields:
            values.setdefault(name, value)
        number = values.get(b"grpc-status")
        try:
            self.trailing_metadata = metadata_of(fields)
        except CallFault as fault:
            self._finish(CallFailed(fault.code, fault.details), reset=True)
            return
        code = grpc.StatusCode.UNKNOWN if number is None else status_code(number)
        details = percent_decoded(values.get(b"grpc-message", b""))
        if self._reader is not None and self._reader.partial_bytes and code is grpc.StatusCode.OK:
            code, details = grpc.StatusCode.INTERNAL, "the response ends inside a message"
        failure = None
        if code is not grpc.StatusCode.OK:
            failure = CallFailed(code, details, self.trailing_metadata)
        # The server reads no more: what still waits is dropped.
        self._finish(failure, reset=not self._stream.local_closed)

    def on_cut(self, code: ErrorCode, *, remote: bool) -> None:
        """The stream was reset."""
        by = "the server reset the stream" if remote else "the server broke the protocol"
        unprocessed = code is ErrorCode.REFUSED_STREAM
        self._finish(CallFailed(code_of_reset(code), f"{by}: {code.name}", unprocessed=unprocessed))

    def on_unprocessed(self, reason: str) -> None:
        """The server went away without having looked at the call."""
        self._finish(CallFailed(grpc.StatusCode.UNAVAILABLE, reason, unprocessed=True))

    def on_drained(self) -> None:
        """What waited was sent."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def on_closed(self, reason: str) -> None:
        """The stream is gone; with the connection, if nothing ended it before."""
        self._finish(CallFailed(grpc.StatusCode.UNAVAILABLE, reason))
        self._stream.owner = None

    # Inside

    @property
    def _takes_more(self) -> bool:
        stream = self._stream
        return not (self._ended or stream.local_closed or stream.ending is not None)

    def _raise_over(self) -> NoReturn:
        if self._failure is not None:
            raise self._failure
        raise CallFailed(grpc.StatusCode.INTERNAL, "the call is over: nobody reads what is written")

    def _deadline_passed(self) -> None:
        self._deadline = None
        self._finish(CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"), reset=True)

    def _finish(self, failure: CallFailed | None, *, reset: bool = False) -> None:
        if self._ended:
            return
        self._ended = True
        self._failure = failure
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if reset and not self._stream.closed:
            self._connection.core.reset(self._stream, ErrorCode.CANCEL)
            self._connection.schedule()
        self._awake()
        self.on_drained()

    def _awake(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None and not wake.done():
            wake.set_result(None)
