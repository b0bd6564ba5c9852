"""What to do about an error, decided from its status code and reason alone."""

from __future__ import annotations

import enum

from grpc import StatusCode


class Advice(enum.Enum):
    """What helps against an error."""

    RETRY = "retry"
    """Make the same call again, with the same client-made id, after a short random wait."""
    LATER = "later"
    """A limit was met. Make the same call again after `retry_after_seconds`."""
    REAUTHENTICATE = "reauthenticate"
    """The tokens are of no use any more. Log in again."""
    RESYNC = "resync"
    """The stream is gone and its past with it. Open a new one and compare heads or read history."""
    GIVE_UP = "give up"
    """The same call will fail again. Change it, or tell somebody."""


_BY_REASON = {
    "ACCOUNT_SUSPENDED": Advice.GIVE_UP,
    "BAD_CREDENTIALS": Advice.GIVE_UP,
    "CHANNEL_FULL": Advice.GIVE_UP,
    "REQUEST_TOO_LARGE": Advice.GIVE_UP,
    "SESSION_NOT_FOUND": Advice.RESYNC,
    "SLOW_READER": Advice.RESYNC,
    "LEASE_EXPIRED": Advice.RESYNC,
    "TOO_MANY_REACTIONS": Advice.GIVE_UP,
    "TOO_MANY_PINS": Advice.GIVE_UP,
    "TOO_MANY_INVITES": Advice.GIVE_UP,
    "TOO_MANY_BANS": Advice.GIVE_UP,
    "TOO_MANY_CONTACTS": Advice.GIVE_UP,
}

_BY_CODE = {
    StatusCode.UNAVAILABLE: Advice.RETRY,
    StatusCode.DEADLINE_EXCEEDED: Advice.RETRY,
    StatusCode.ABORTED: Advice.RETRY,
    # A server or proxy that goes down resets its calls so. Repeating is safe: every call carries its own id.
    StatusCode.CANCELLED: Advice.RETRY,
    StatusCode.RESOURCE_EXHAUSTED: Advice.LATER,
    StatusCode.UNAUTHENTICATED: Advice.REAUTHENTICATE,
}


def advise(code: StatusCode, reason: str) -> Advice:
    """The advice for a status code and a reason (the name without `ERROR_REASON_`; "" when there is none).

    A reason that this version does not know is judged by its code.
    """
    if code is StatusCode.RESOURCE_EXHAUSTED and not reason:
        # gRPC itself says so of a message that is too large, and gives no reason: it stays too large.
        return Advice.GIVE_UP
    if code in (StatusCode.INTERNAL, StatusCode.UNKNOWN) and not reason:
        # Parley gives a reason with its own. This is how gRPC tells of a connection that broke in the middle.
        return Advice.RETRY
    return _BY_REASON.get(reason) or _BY_CODE.get(code, Advice.GIVE_UP)
