"""Refusals as `google.rpc.Status`, the form in which they travel (google.aip.dev/193)."""

from __future__ import annotations

import grpc
from google.rpc import error_details_pb2, status_pb2

from parley_runtime.refusal import Code, Reason, Refusal

ERROR_DOMAIN = "parley"
DETAILS_KEY = "grpc-status-details-bin"
DEFAULT_RETRY_SECONDS = 1.0
# grpc-message is a header: a long one would meet header limits before it met a reader.
MESSAGE_LIMIT_CHARACTERS = 1024

_CODES = {Code(status.value[0]): status for status in grpc.StatusCode if status.value[0] in set(Code)}
_QUOTAS = frozenset(
    {Reason.RATE_LIMITED, Reason.TOO_MANY_IN_FLIGHT, Reason.CHANNEL_FULL, Reason.REQUEST_TOO_LARGE}
)
# Waiting does not help against these, so no RetryInfo goes with them.
_NOT_WORTH_WAITING = frozenset({Reason.CHANNEL_FULL, Reason.REQUEST_TOO_LARGE})


def status_of(refusal: Refusal) -> status_pb2.Status:
    """The status with exactly one ErrorInfo, and RetryInfo, BadRequest, QuotaFailure where they apply."""
    reason = refusal.reason
    status = status_pb2.Status(code=reason.code.value, message=refusal.message[:MESSAGE_LIMIT_CHARACTERS])
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=reason.text, domain=ERROR_DOMAIN, metadata=refusal.metadata)
    )
    retry_after_seconds = refusal.retry_after_seconds
    if retry_after_seconds is None and reason.code in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE):
        retry_after_seconds = None if reason in _NOT_WORTH_WAITING else DEFAULT_RETRY_SECONDS
    if retry_after_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(retry_after_seconds * 1e9))
        status.details.add().Pack(retry)
    if refusal.violations:
        bad_request = error_details_pb2.BadRequest()
        for violation in refusal.violations:
            bad_request.field_violations.add(field=violation.field, description=violation.description)
        status.details.add().Pack(bad_request)
    if reason in _QUOTAS:
        quota = error_details_pb2.QuotaFailure()
        quota.violations.add(subject=reason.text, description=status.message)
        status.details.add().Pack(quota)
    return status


def abort_arguments(refusal: Refusal) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """What `context.abort` takes to end a call with this refusal: code, message, trailing metadata."""
    status = status_of(refusal)
    return _CODES[refusal.reason.code], status.message, ((DETAILS_KEY, status.SerializeToString()),)
