"""How a call begins: what serves a request, and what refuses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from parley_wire.call import Call, RefusedCall
from parley_wire.handlers import RawMethod
from parley_wire.log import log
from parley_wire.not_grpc_call import NotGrpcCall
from parley_wire.raw_call import RawCall
from parley_wire.request import request_of
from parley_wire.servicer_call import ServicerCall
from parley_wire.status import FAILED_FAULT, CallFault, FaultCause

if TYPE_CHECKING:
    from parley_wire.events import RequestReceived
    from parley_wire.handlers import Handler
    from parley_wire.request import Request
    from parley_wire.server import Server
    from parley_wire.server_connection import ServerConnection

_HEADERS_TOO_LARGE = CallFault(
    grpc.StatusCode.RESOURCE_EXHAUSTED, "the request's headers are too large", FaultCause.HEADERS_TOO_LARGE
)
_SERVER_FULL = CallFault(
    grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!", FaultCause.SERVER_FULL
)
_NO_METHOD = CallFault(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


def open_call(connection: ServerConnection, event: RequestReceived) -> None:
    """Give the request's stream its owner. Raises what a raw method's `open_handler` raises."""
    server = connection.server
    stream = event.stream
    if stream.closed:
        # Opened and reset within one read: nothing was begun for it.
        return
    request = request_of(event.headers)
    server.calls += 1
    if request.http_status:
        stream.owner = NotGrpcCall(connection, stream, request.http_status)
        if event.end_stream:
            stream.owner.on_data(b"", True)
        return
    found = _handler_or_fault(server, request, headers_too_large=event.too_large)
    if isinstance(found, CallFault):
        stream.owner = RefusedCall(connection, stream, request, found)
        return
    call: Call
    if isinstance(found, RawMethod):
        call = raw = RawCall(connection, stream, request, request_streaming=found.request_streaming)
        stream.owner = raw
        raw.serve(found.open_handler(raw))
    else:
        call = ServicerCall(connection, stream, request, found)
        stream.owner = call
    if event.end_stream:
        call.on_data(b"", True)


def _handler_or_fault(server: Server, request: Request, *, headers_too_large: bool) -> Handler | CallFault:
    if headers_too_large:
        return _HEADERS_TOO_LARGE
    if server.full:
        return _SERVER_FULL
    if request.fault is not None:
        return request.fault
    try:
        handler = server.handlers.find(request.path, request.metadata)
    except Exception:
        # A defect of a generic handler's: the other calls of the connection go on.
        log.exception("looking for the handler of %s failed", request.path)
        return FAILED_FAULT
    return _NO_METHOD if handler is None else handler
