"""From what gRPC says about a failed call to the typed error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from parley._errors import ParleyError, TimedOut, Unreachable, Violation
from parley._reasons import CLASSES, class_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

DETAILS_KEY = "grpc-status-details-bin"
DOMAIN = "parley"

_CODES: dict[int, StatusCode] = {code.value[0]: code for code in StatusCode}


def error_of_status(status: status_pb2.Status) -> ParleyError:
    """The error that a `google.rpc.Status` stands for. Details that cannot be read are left out."""
    code = _CODES.get(status.code, StatusCode.UNKNOWN)
    reason = ""
    metadata: dict[str, str] = {}
    violations: list[Violation] = []
    retry_after_seconds: float | None = None
    for detail in status.details:
        try:
            match detail.type_url.rpartition("/")[2]:
                case "google.rpc.ErrorInfo":
                    info = error_details_pb2.ErrorInfo.FromString(detail.value)
                    if info.domain == DOMAIN:
                        reason, metadata = info.reason, dict(info.metadata)
                case "google.rpc.BadRequest":
                    bad = error_details_pb2.BadRequest.FromString(detail.value)
                    violations += [Violation(each.field, each.description) for each in bad.field_violations]
                case "google.rpc.RetryInfo":
                    delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
                    retry_after_seconds = max(0.0, delay.seconds + delay.nanos / 1e9)
        except DecodeError:
            continue
    kind = CLASSES.get(class_name(reason)) or _without_reason(code)
    return kind(
        status.message,
        code=code,
        reason=reason,
        violations=violations,
        retry_after_seconds=retry_after_seconds,
        metadata=metadata,
    )


def error_of_call(failure: grpc.aio.AioRpcError) -> ParleyError:
    """The error that a failed call stands for."""
    return error_of_end(failure.code(), failure.details(), failure.trailing_metadata())


def error_of_end(
    code: StatusCode, details: str | None, trailers: Iterable[tuple[str, str | bytes]] | None
) -> ParleyError:
    """The error for a call that ended with this status, other than OK, and this trailing metadata."""
    for key, value in trailers or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                break
            if status.code == code.value[0]:
                return error_of_status(status)
    return _without_reason(code)(details or "The server gave no details.", code=code)


def _without_reason(code: StatusCode) -> type[ParleyError]:
    if code is StatusCode.UNAVAILABLE:
        return Unreachable
    if code is StatusCode.DEADLINE_EXCEEDED:
        return TimedOut
    return ParleyError
