"""The stream seam on parley_wire: no task and no queue per stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import grpc

import parley_wire
from parley_runtime.refusal import Reason, Refusal
from parley_runtime.status import abort_arguments
from parley_server.ports.stream import StreamHandler

if TYPE_CHECKING:
    from parley_wire import RawCall

_NOT_TAKEN = Refusal(
    Reason.SLOW_READER, "The client did not take in time what was sent before the end. Connect again."
)

# What the transport ends by itself is told in the words of the catalogue, where it has some.
_CAUSES = {
    parley_wire.FaultCause.SERVER_FULL: Reason.SERVER_BUSY,
    parley_wire.FaultCause.MESSAGE_TOO_LARGE: Reason.REQUEST_TOO_LARGE,
    parley_wire.FaultCause.HEADERS_TOO_LARGE: Reason.REQUEST_TOO_LARGE,
    parley_wire.FaultCause.SERVER_STOPS: Reason.NODE_STOPPING,
}

MakeHandler = Callable[[], StreamHandler]


class WireStream:
    """`DeviceStream` over a raw call of parley_wire.

    What is sent goes out at the end of the loop's tick, in one write with everything else for its connection.
    `send_encoded` answers False only when the socket or the client's window holds something back.
    """

    __slots__ = ("_call", "_close_seconds", "_closing", "send_encoded")

    def __init__(self, call: RawCall, close_seconds: float) -> None:
        """After `close` the client has `close_seconds` to take what was sent; then the call is given up."""
        self._call = call
        self._close_seconds = close_seconds
        self._closing = False
        # The call's own method: nothing stands between a session and the transport.
        self.send_encoded: Callable[[bytes], bool] = call.send

    @property
    def peer(self) -> str:
        return self._call.peer

    @property
    def metadata(self) -> Mapping[str, str]:
        # Metadata values may be bytes only under "-bin" keys, which nobody here reads.
        return {key: value for key, value in self._call.metadata if isinstance(value, str)}

    def close(self, refusal: Refusal | None) -> None:
        if self._closing:
            return
        self._closing = True
        call = self._call
        if refusal is None:
            call.close(grpc.StatusCode.OK)
        else:
            call.close(*abort_arguments(refusal))
        if call.waiting_bytes:
            # A client that reads no more would hold the call, and its place, for ever.
            call.close_now_after(self._close_seconds, *abort_arguments(refusal or _NOT_TAKEN))


def fault_metadata(
    fault: parley_wire.CallFault, *, request_limit_bytes: int
) -> tuple[tuple[str, bytes], ...]:
    """The error details of a call that ends for a reason below its handler. None for codes that say it all:
    UNIMPLEMENTED, DEADLINE_EXCEEDED, CANCELLED.

    A message that is too large is told of the node's own limit, whatever the transport would have taken.
    """
    reason = _CAUSES.get(fault.cause)
    if reason is None and fault.code is grpc.StatusCode.INTERNAL:
        reason = Reason.INTERNAL
    if reason is None:
        return ()
    message = fault.cause is parley_wire.FaultCause.MESSAGE_TOO_LARGE
    metadata = {"limit_bytes": str(request_limit_bytes)} if message else {}
    return abort_arguments(Refusal(reason, fault.details, metadata=metadata))[2]


def stream_stream(make_handler: MakeHandler, *, close_seconds: float) -> parley_wire.RawMethod:
    """A bidirectional method served by one handler per stream, bytes both ways."""
    return _method(make_handler, close_seconds, request_streaming=True)


def unary_stream(make_handler: MakeHandler, *, close_seconds: float) -> parley_wire.RawMethod:
    """A server-streaming method served by one handler per stream, bytes both ways."""
    return _method(make_handler, close_seconds, request_streaming=False)


def _method(
    make_handler: MakeHandler, close_seconds: float, *, request_streaming: bool
) -> parley_wire.RawMethod:
    def open_handler(call: RawCall) -> StreamHandler:
        handler = make_handler()
        handler.opened(WireStream(call, close_seconds))
        return handler

    return parley_wire.RawMethod(open_handler, request_streaming=request_streaming)
