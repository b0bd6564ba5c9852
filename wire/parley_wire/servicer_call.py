"""A call served by a grpc.aio servicer: its requests, its responses, its task, its end."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio

from parley_wire import behaviour
from parley_wire.call_context import CallContext
from parley_wire.errors import ErrorCode
from parley_wire.log import log
from parley_wire.messages import LARGEST_FRAMED_BYTES, compressed, in_bytes, prefixed
from parley_wire.response import BASIC_HEADERS, headers_block
from parley_wire.status import DEADLINE_FAULT, FAILED_FAULT, SLOW_REQUEST_FAULT, CallFault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parley_wire.handlers import Handler
    from parley_wire.messages import PackedMessage
    from parley_wire.metadata import Metadata
    from parley_wire.request import Request
    from parley_wire.server_connection import ServerConnection
    from parley_wire.stream import Stream


class ServicerCall(CallContext):
    """The call and its context in one: the handler runs in a task that ends with the call."""

    __slots__ = ("_half_closed", "_handler", "_requests", "_room", "_task", "_waiter")

    def __init__(
        self, connection: ServerConnection, stream: Stream, request: Request, handler: Handler
    ) -> None:
        super().__init__(connection, stream, request)
        self._handler = handler
        self._task: asyncio.Task[None] | None = None
        # Messages that nobody read yet; their window stays shut until somebody does.
        self._requests: deque[bytes | PackedMessage] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._half_closed = False
        if handler.request_streaming:
            self._requests = deque()
            self._start(None)
        else:
            connection.server.await_request(self)

    # What the connection tells

    def on_data(self, data: bytes, end_stream: bool) -> None:
        core = self._connection.core
        if self._done or self._half_closed:
            core.consumed(self._stream, len(data))
            return
        try:
            messages = self._messages(data)
            if end_stream and self._partial_bytes:
                raise CallFault(grpc.StatusCode.INTERNAL, "the request ends inside a message")
            if self._handler.request_streaming:
                self._take_stream(data, messages, end_stream)
            else:
                core.consumed(self._stream, len(data))
                self._take_single(messages, end_stream)
        except CallFault as fault:
            core.consumed(self._stream, len(data))
            self._fail(fault)

    def on_cut(self, code: ErrorCode) -> None:
        if not self._done:
            self._cancelled = True

    def on_drained(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def on_closed(self) -> None:
        self._connection.server.request_over(self)
        self._release()
        if not self._done:
            self._cancelled = True
            self._finished()
        if self._task is not None and not self._task.done():
            self._task.cancel()

    def give_up_waiting(self) -> None:
        """The request took too long to come."""
        self._fail(SLOW_REQUEST_FAULT)

    def cancel(self, fault: CallFault) -> None:
        """The server ends the call, or its request cannot be unpacked."""
        self._fail(fault)

    def replace_handler(self, handler: Handler) -> None:
        """Serve with what the interceptors made of the handler."""
        self._handler = handler

    # Requests

    def _take_stream(self, data: bytes, messages: list[bytes | PackedMessage], end_stream: bool) -> None:
        requests = self._requests
        assert requests is not None
        # What is part of an unfinished message is let through, so that one larger than the window can come.
        waiting = sum(map(len, messages))
        self._connection.core.consumed(self._stream, max(0, len(data) - waiting))
        requests.extend(messages)
        self._half_closed = end_stream
        if messages or end_stream:
            self._wake_reader()

    def _wake_reader(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _take_single(self, messages: list[bytes | PackedMessage], end_stream: bool) -> None:
        if messages:
            if self._requests is not None or len(messages) > 1:
                raise CallFault(grpc.StatusCode.UNIMPLEMENTED, "this method takes one request")
            self._requests = deque(messages)
        if end_stream:
            self._half_closed = True
            self._connection.server.request_over(self)
            if self._requests is None:
                raise CallFault(grpc.StatusCode.UNIMPLEMENTED, "the request has no message")
            # Unpacked in the task: hundreds of them may come in one read.
            self._start(self._requests.popleft())

    async def read(self) -> Any:
        requests = self._requests
        assert requests is not None
        while not requests:
            if self._half_closed or self._done:
                return grpc.aio.EOF
            if self._waiter is not None:
                raise grpc.aio.UsageError("one read at a time")
            self._waiter = self._connection.server.loop.create_future()
            await self._waiter
        message = requests.popleft()
        self._connection.core.consumed(self._stream, len(message))
        if not self._connection.dirty:
            self._connection.schedule()
        try:
            request = self.unpacked(message)
        except CallFault as fault:
            self._fail(fault)
            raise grpc.aio.AbortError(fault.details) from fault
        deserializer = self._handler.request_deserializer
        return request if deserializer is None else deserializer(request)

    # Responses

    async def write(self, message: Any) -> None:
        self._check_open()
        self.send_message(message)
        await self._until_drained()

    def send_message(self, message: Any) -> None:
        """Send one response, if the stream is still there. Raises TypeError for one that is no bytes once it
        is serialized.
        """
        encoded = in_bytes(self._handler.response_serializer, message)
        stream = self._stream
        if stream.closed:
            return
        connection = self._connection
        sender = connection.core.sender
        if not self._headers_sent:
            self._send_headers(())
        compress, self._compress_next = self._compress_next, True
        if self._encoding != "identity" and compress:
            sender.data(stream, compressed(encoded, self._encoding))
        elif len(encoded) <= LARGEST_FRAMED_BYTES:
            sender.data_frame(stream, connection.shared.of(stream.id, encoded))
        else:
            sender.data(stream, prefixed(encoded))
        if not connection.dirty:
            connection.schedule()

    async def send_initial_metadata(self, initial_metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._check_open()
        if self._headers_sent:
            raise grpc.aio.UsageError("the initial metadata was sent already")
        self._send_headers(tuple(initial_metadata))

    def _send_headers(self, metadata: Metadata) -> None:
        block = BASIC_HEADERS
        if metadata or self._encoding != "identity":
            block = headers_block(metadata, self._encoding)
        self._headers_sent = True
        if not self._stream.closed:
            self._connection.core.sender.headers(self._stream, block, end_stream=False)
            self._connection.schedule()

    async def _until_drained(self) -> None:
        stream = self._stream
        # A stream that was cut a moment ago: this task is about to hear of it.
        if stream.closed or (stream.queue is not None and stream.blocked):
            limit = self._connection.core.limits.send_buffer_bytes
            if self._room is not None and stream.queued_bytes > limit:
                raise grpc.aio.UsageError("one write at a time")
            if self._room is None:
                self._room = self._connection.server.loop.create_future()
            await asyncio.shield(self._room)
            self._check_open()

    # The end

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: Iterable[tuple[str, str | bytes]] = (),
    ) -> NoReturn:
        if code is grpc.StatusCode.OK:
            raise grpc.aio.UsageError("abort needs a code that is not OK")
        self._check_open()
        self._code = code
        self._details = details
        if trailing_metadata:
            self._trailing = tuple(trailing_metadata)
        raise grpc.aio.AbortError(f"aborted with {code.name}")

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        await self.abort(status.code, status.details, status.trailing_metadata or ())

    def finish(self) -> None:
        """Send the status as it was set. Bad trailing metadata becomes UNKNOWN."""
        if self._done:
            return
        try:
            self._end(self._code, self._details, self._trailing)
        except (ValueError, TypeError) as error:
            log.error("trailing metadata of %s: %s", self._request.path, error)
            self._end(grpc.StatusCode.UNKNOWN, "the trailing metadata cannot be sent")
        # The handler is through, though its task ends a tick later: by then the client may have read the
        # answer and sent the next request, for which there must be room.
        self._connection.core.release(self._stream)
        self._finished()

    def _fail(self, fault: CallFault) -> None:
        if self._done:
            return
        self._code, self._details = fault.code, fault.details
        self._connection.server.request_over(self)
        core = self._connection.core
        if self._stream.queue is not None:
            # Behind what the client does not take, no status would reach it.
            core.reset(self._stream, ErrorCode.CANCEL)
            self._connection.schedule()
            self._connection.server.on_fault(fault)
        else:
            self._end_for(fault)
        self._finished()
        if self._task is not None:
            self._task.cancel()

    def _deadline_passed(self) -> None:
        self._deadline = None
        self._cancelled = True
        self._fail(DEADLINE_FAULT)

    def _finished(self) -> None:
        self._done = True
        # Tasks of the handler's own may wait there.
        self.on_drained()
        self._wake_reader()
        self._tell_done()

    def _start(self, first: bytes | PackedMessage | None) -> None:
        server = self._connection.server
        self._stream.held = True
        served = behaviour.serve(self, self._handler, first, server.handlers)
        self._task = server.loop.create_task(served, name=self.path)
        server.tasks.add(self._task)
        self._task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._connection.server.tasks.discard(task)
        self._connection.core.release(self._stream)
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the server failed in %s", self._request.path, exc_info=error)
            self._fail(FAILED_FAULT)
        elif not self._done:
            # Cancelled by the handler itself, or before it began.
            self._fail(CallFault(grpc.StatusCode.CANCELLED, "the handler was cancelled"))
