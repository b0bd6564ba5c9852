"""A call served by callbacks and bytes: the hot path, without a task or a queue of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import grpc

from parley_wire.call import Call
from parley_wire.errors import ErrorCode
from parley_wire.log import log
from parley_wire.messages import LARGEST_FRAMED_BYTES, LARGEST_SHARED_BYTES, PREFIX_BYTES, prefixed
from parley_wire.request import Request
from parley_wire.response import BASIC_HEADERS
from parley_wire.status import DEADLINE_FAULT, SLOW_REQUEST_FAULT, CallFault

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from parley_wire.metadata import Metadata
    from parley_wire.server_connection import ServerConnection
    from parley_wire.stream import Stream


_HEARD = Request("")


class RawHandler(Protocol):
    """Serves one raw call. Called on the loop, in the order of the wire; no method may raise or block."""

    def received(self, message: bytes) -> None:
        """One message came. Never after `RawCall.close`."""
        ...

    def writable(self) -> None:
        """After `RawCall.send` returned False: more may be sent."""
        ...

    def half_closed(self) -> None:
        """The client sends no more. At most once, `received` never after it. Never after `RawCall.close`."""
        ...

    def closed(self) -> None:
        """The call is over, however it ended. Exactly once, last."""
        ...


class RawCall(Call):
    """What a RawHandler has in hand. Plain calls that never block. Those that end the call raise ValueError
    or TypeError for metadata that cannot be sent.
    """

    __slots__ = ("_close_timer", "_ending", "_handler", "_messages_left", "_over", "_sender")

    def __init__(
        self, connection: ServerConnection, stream: Stream, request: Request, *, request_streaming: bool
    ) -> None:
        limit_bytes = connection.server.options.receive_raw_message_bytes
        super().__init__(connection, stream, request, message_limit_bytes=limit_bytes)
        self._handler: RawHandler | None = None
        self._ending = False
        # Held here for `send`: on the way over connection and core it would miss the cache twice.
        self._sender = connection.core.sender
        self._over = False
        self._close_timer: asyncio.TimerHandle | None = None
        # How many request messages may still come; -1 for any number.
        self._messages_left = -1 if request_streaming else 1
        if not request_streaming:
            connection.server.await_request(self)

    def serve(self, handler: RawHandler) -> None:
        """Begin: the handler gets everything from now on. The connection calls this once."""
        self._handler = handler
        # It holds a token of half a kilobyte, and idle calls are many.
        self._request = _HEARD

    @property
    def peer(self) -> str:
        """The client's address, as grpc prints it."""
        return self._connection.peer

    @property
    def metadata(self) -> Metadata:
        """The call's metadata. Empty once `open_handler` has returned: who needs it later keeps it."""
        return self._request.metadata

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were taken and that the client has not let through yet."""
        return self._stream.queued_bytes

    def send(self, message: bytes) -> bool:
        """Send one message. The bytes are always taken, in order.

        False: send no more until `RawHandler.writable`. After `close`, and once the stream is gone, the call
        does nothing and returns False.
        """
        stream = self._stream
        if self._ending or stream.local_closed:
            return False
        connection = self._connection
        sender = self._sender
        if not self._headers_sent:
            self._headers_sent = True
            sender.headers(stream, BASIC_HEADERS, end_stream=False)
        size = len(message)
        if size <= LARGEST_FRAMED_BYTES:
            taken = sender.data_frame(stream, connection.shared.of(stream.id, message))
        elif size <= LARGEST_SHARED_BYTES and sender.whole_frames(
            stream, connection.shared.of(stream.id, message), size + PREFIX_BYTES
        ):
            taken = True
        else:
            taken = sender.data(stream, prefixed(message))
        if not connection.dirty:
            connection.schedule()
        if not taken:
            self._mind_buffer(size)
        return taken

    def close(
        self, code: grpc.StatusCode, details: str = "", metadata: Iterable[tuple[str, str | bytes]] = ()
    ) -> None:
        """End the call after all taken bytes. Only the first call counts."""
        if self._ending:
            return
        self._end(code, details, metadata)
        self._ending = True

    def close_now(
        self, code: grpc.StatusCode, details: str = "", metadata: Iterable[tuple[str, str | bytes]] = ()
    ) -> None:
        """End the call for its handler at once, and drop what the client has not let through.

        The status goes out behind the message that was on its way, if one was cut in two by a window; the
        client may read it whenever it reads again.
        """
        stream = self._stream
        if self._over or stream.closed:
            return
        self._connection.core.sender.keep_begun(stream)
        self._end(code, details, metadata)
        self._ending = True
        self.on_closed()

    def close_now_after(
        self,
        seconds: float,
        code: grpc.StatusCode,
        details: str = "",
        metadata: Iterable[tuple[str, str | bytes]] = (),
    ) -> None:
        """`close_now` with this status once `seconds` have passed, unless the call is over by then: for what
        was closed and is not taken. The last such call counts.
        """
        if self._over:
            return
        self._forget_close_timer()
        loop = self._connection.server.loop
        self._close_timer = loop.call_later(seconds, self.close_now, code, details, tuple(metadata))

    # What the connection tells

    def close_for(self, fault: CallFault) -> None:
        """End the call for what its client sent."""
        if not self._ending:
            self._end_for(fault)
            self._ending = True

    def cancel(self, fault: CallFault) -> None:
        """End the call at once."""
        if self._over or self._stream.closed:
            return
        server = self._connection.server
        # Closed before, and what waits is not taken: its end was its handler's doing, or was told.
        ended = self._ending
        self.close_now(fault.code, fault.details, server.fault_metadata(fault))
        if not ended:
            server.on_fault(fault)

    def on_data(self, data: bytes, end_stream: bool) -> None:
        self._connection.core.consumed(self._stream, len(data))
        if self._ending:
            return
        handler = self._handler
        assert handler is not None
        try:
            for message in self._messages(data):
                if self._messages_left == 0:
                    raise CallFault(grpc.StatusCode.UNIMPLEMENTED, "this method takes one request")
                self._messages_left -= 1
                if self._messages_left == 0:
                    self._connection.server.request_over(self)
                handler.received(self.unpacked(message))
                if self._ending:
                    # The handler closed the call: it hears no more, of this frame either.
                    return
            if end_stream:
                if self._partial_bytes:
                    raise CallFault(grpc.StatusCode.INTERNAL, "the request ends inside a message")
                handler.half_closed()
        except CallFault as fault:
            self.close_for(fault)

    def on_drained(self) -> None:
        if self._handler is not None and not self._ending:
            self._handler.writable()

    def on_closed(self) -> None:
        if self._over:
            return
        self._over = self._ending = True
        self._forget_close_timer()
        self._connection.server.request_over(self)
        self._release()
        handler, self._handler = self._handler, None
        if handler is not None:
            try:
                handler.closed()
            except Exception:
                # A defect of the handler. The other calls of the connection must hear of their end, too.
                log.exception("a raw handler failed at its end")

    def give_up_waiting(self) -> None:
        """The one request took too long to come."""
        self.close_for(SLOW_REQUEST_FAULT)

    def _deadline_passed(self) -> None:
        self._deadline = None
        self.cancel(DEADLINE_FAULT)

    def _forget_close_timer(self) -> None:
        timer, self._close_timer = self._close_timer, None
        if timer is not None:
            timer.cancel()

    def _mind_buffer(self, size_bytes: int) -> None:
        limit = self._connection.core.limits.send_buffer_bytes
        if self._stream.queued_bytes > limit + size_bytes:
            self._connection.core.reset(self._stream, ErrorCode.ENHANCE_YOUR_CALM)
