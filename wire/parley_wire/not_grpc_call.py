"""A request that is not gRPC: a browser's, mostly. It gets an HTTP status and a line of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_wire.errors import ErrorCode
from parley_wire.response import NOT_GRPC_TEXT, not_grpc_block

if TYPE_CHECKING:
    from parley_wire.server_connection import ServerConnection
    from parley_wire.stream import Stream


class NotGrpcCall:
    """Answers a request that is not gRPC, once it was heard."""

    __slots__ = ("_connection", "_status", "_stream")

    def __init__(self, connection: ServerConnection, stream: Stream, status: int) -> None:
        self._connection = connection
        self._stream = stream
        self._status = status
        connection.server.await_request(self)

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """Its body is of no interest."""
        core = self._connection.core
        core.consumed(self._stream, len(data))
        if end_stream:
            self._connection.server.request_over(self)
            core.sender.headers(self._stream, not_grpc_block(self._status), end_stream=False)
            core.sender.data(self._stream, NOT_GRPC_TEXT)
            core.sender.end(self._stream, b"")
            self._connection.schedule()

    def give_up_waiting(self) -> None:
        """It took too long."""
        self._connection.core.reset(self._stream, ErrorCode.CANCEL)
        self._connection.schedule()

    def on_cut(self, code: ErrorCode) -> None:
        """Nothing depends on it."""

    def on_drained(self) -> None:
        """Nothing waits for it."""

    def on_closed(self) -> None:
        """It counts no more."""
        self._connection.server.request_over(self)
        self._stream.owner = None
        self._connection.server.calls -= 1
