"""How a gRPC call ends: code, message, and how they look in trailers."""

from __future__ import annotations

import re
from enum import Enum
from urllib.parse import unquote

import grpc

from parley_wire.errors import ErrorCode, WireError

_CODES = {code.value[0]: code for code in grpc.StatusCode}
# Everything but printable ASCII, and the percent sign itself. A space at an end would be lost on the way.
_UNSAFE = re.compile(rb"[^\x20-\x24\x26-\x7e]|^ | $")

# gRPC over HTTP/2, "Errors": what a reset means to a call.
_RESETS = {
    ErrorCode.NO_ERROR: grpc.StatusCode.INTERNAL,
    ErrorCode.REFUSED_STREAM: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.CANCEL: grpc.StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: grpc.StatusCode.PERMISSION_DENIED,
}
# The same for an answer that is not gRPC at all.
_HTTP = {
    400: grpc.StatusCode.INTERNAL,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.UNAVAILABLE,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,
}


class FaultCause(Enum):
    """Which limit or event ended a call, where the code alone does not say what its client should do."""

    SERVER_FULL = "server full"
    """Too many calls, or too many large requests at a time. Later there will be room."""
    MESSAGE_TOO_LARGE = "message too large"
    """A request message has more than the server takes. Trying again does not help."""
    HEADERS_TOO_LARGE = "headers too large"
    """The same of a request's headers."""
    SERVER_STOPS = "server stops"
    """Another server, or this one after its start, will serve the call."""
    OTHER = "other"
    """The code says it all: what the client sent is not gRPC, its time is over, nobody serves the method, or
    a defect of the server.
    """


class CallFault(WireError):
    """A call must end with this status, for a reason below its handler."""

    def __init__(self, code: grpc.StatusCode, details: str, cause: FaultCause = FaultCause.OTHER) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details
        self.cause = cause


DEADLINE_FAULT = CallFault(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
SLOW_REQUEST_FAULT = CallFault(grpc.StatusCode.DEADLINE_EXCEEDED, "the request did not come in time")
FAILED_FAULT = CallFault(grpc.StatusCode.INTERNAL, "the server failed")
STOPPING_FAULT = CallFault(grpc.StatusCode.UNAVAILABLE, "the server stops", FaultCause.SERVER_STOPS)


def status_code(number: bytes) -> grpc.StatusCode:
    """The code for the text of grpc-status; UNKNOWN for what is none."""
    return _CODES.get(int(number), grpc.StatusCode.UNKNOWN) if number.isdigit() else grpc.StatusCode.UNKNOWN


def code_of_reset(code: ErrorCode) -> grpc.StatusCode:
    """What RST_STREAM means to the call it cuts."""
    return _RESETS.get(code, grpc.StatusCode.INTERNAL)


def code_of_http(status: int) -> grpc.StatusCode:
    """What an HTTP status without grpc-status means."""
    return _HTTP.get(status, grpc.StatusCode.UNKNOWN)


def percent_encoded(message: str) -> bytes:
    """A status message as the value of grpc-message ("Percent-Encoded")."""
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], message.encode("utf-8", "replace"))


def percent_decoded(value: bytes) -> str:
    """The message in a grpc-message. Nothing is an error: broken sequences stay, broken UTF-8 is replaced."""
    return unquote(value.decode("latin-1"), "utf-8", "replace")
