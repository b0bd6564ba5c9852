"""What every call on the server has: its stream, its request, its messages, its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from parley_wire.errors import ErrorCode
from parley_wire.messages import MessageReader
from parley_wire.response import trailers_block
from parley_wire.status import CallFault, FaultCause

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from parley_wire.messages import PackedMessage
    from parley_wire.request import Request
    from parley_wire.server_connection import ServerConnection
    from parley_wire.stream import Stream


# Unpacking so many bytes costs us as much as a control frame; for its sender it may be a few.
_UNPACKED_BYTES_PER_COST = 8192


class Call:
    """The server's side of one call. The connection calls the `on_…` methods; `on_closed` once, last."""

    __slots__ = (
        "_connection",
        "_deadline",
        "_headers_sent",
        "_partial_bytes",
        "_reader",
        "_request",
        "_stream",
    )

    def __init__(
        self,
        connection: ServerConnection,
        stream: Stream,
        request: Request,
        *,
        message_limit_bytes: int | None = None,
    ) -> None:
        """`message_limit_bytes`: the largest request message, if not the server's for all."""
        if message_limit_bytes is None:
            message_limit_bytes = connection.server.options.receive_message_bytes
        self._connection = connection
        self._stream = stream
        self._request = request
        self._reader = MessageReader(message_limit_bytes, request.encoding)
        self._partial_bytes = 0
        self._headers_sent = False
        self._deadline: asyncio.TimerHandle | None = None
        if request.timeout_seconds is not None:
            self._deadline = connection.server.loop.call_later(request.timeout_seconds, self._deadline_passed)

    # What the connection tells

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """Bytes of the body came. They must be reported as consumed."""
        raise NotImplementedError

    def on_cut(self, code: ErrorCode) -> None:
        """The stream was reset; `on_closed` follows."""

    def on_drained(self) -> None:
        """What waited was sent."""

    def on_closed(self) -> None:
        """The stream is closed, for whatever reason."""
        self._release()

    # For the kinds of calls

    def unpacked(self, message: bytes | PackedMessage) -> bytes:
        """A request as it was meant. Unpacking costs its connection's allowance. Raises CallFault."""
        if isinstance(message, bytes):
            return message
        unpacked_bytes = message.limit_bytes
        try:
            plain = message.unpacked()
            unpacked_bytes = len(plain)
        finally:
            core = self._connection.core
            core.control.count(core, unpacked_bytes / _UNPACKED_BYTES_PER_COST)
        if core.failed:
            self._connection.schedule()
            raise CallFault(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much to unpack")
        return plain

    def _messages(self, data: bytes) -> list[bytes | PackedMessage]:
        """The request messages that these bytes complete. Raises CallFault."""
        reader = self._reader
        messages = reader.feed(data)
        partial = reader.partial_bytes
        if partial != self._partial_bytes:
            server = self._connection.server
            server.partial_bytes += partial - self._partial_bytes
            self._partial_bytes = partial
            if server.partial_bytes > server.options.partial_messages_bytes:
                raise CallFault(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "too many large requests at a time",
                    FaultCause.SERVER_FULL,
                )
        return messages

    def _end(
        self, code: grpc.StatusCode, details: str, metadata: Iterable[tuple[str, str | bytes]] = ()
    ) -> None:
        """Send the status behind everything that was sent. Raises ValueError or TypeError: bad metadata."""
        block = trailers_block(code, details, tuple(metadata), only=not self._headers_sent)
        self._headers_sent = True
        if not self._stream.local_closed:
            self._connection.core.sender.end(self._stream, block)
            self._connection.schedule()

    def _end_for(self, fault: CallFault) -> None:
        """Send the status of a fault, with what the server's owner adds to it, and tell the owner. Nothing of
        it if the client has cut the call.
        """
        if not self._stream.closed:
            server = self._connection.server
            self._end(fault.code, fault.details, server.fault_metadata(fault))
            server.on_fault(fault)

    def _deadline_passed(self) -> None:
        raise NotImplementedError

    def _release(self) -> None:
        """Give back what the call holds."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._partial_bytes:
            self._connection.server.partial_bytes -= self._partial_bytes
            self._partial_bytes = 0
        self._stream.owner = None
        self._connection.server.calls -= 1


class RefusedCall(Call):
    """A call that ends with a status at once, whatever of its request has come."""

    __slots__ = ()

    def __init__(
        self, connection: ServerConnection, stream: Stream, request: Request, fault: CallFault
    ) -> None:
        super().__init__(connection, stream, request)
        self._end_for(fault)

    def on_data(self, data: bytes, end_stream: bool) -> None:
        self._connection.core.consumed(self._stream, len(data))

    def _deadline_passed(self) -> None:
        self._connection.core.reset(self._stream, ErrorCode.CANCEL)
        self._connection.schedule()
