"""Why the server ends a stream of its own accord."""

from __future__ import annotations

import enum

from parley_runtime.refusal import Code, Reason, Refusal


class Farewell(enum.IntEnum):
    """As `parley.chat.v1.GoAwayReason`."""

    NODE_STOPPING = 1
    SLOW_READER = 2
    DEVICE_REVOKED = 3
    TOKEN_EXPIRED = 4
    LEASE_EXPIRED = 5
    ACCOUNT_SUSPENDED = 6


_REFUSALS = {
    Farewell.NODE_STOPPING: (Reason.NODE_STOPPING, "This node is leaving. Connect again."),
    Farewell.SLOW_READER: (
        Reason.SLOW_READER,
        "The client read too slowly for what was sent to it. Connect again; nothing is lost.",
    ),
    Farewell.DEVICE_REVOKED: (Reason.DEVICE_REVOKED, "This device was logged out. Log in again."),
    Farewell.TOKEN_EXPIRED: (
        Reason.TOKEN_EXPIRED,
        "The stream's access token has expired. Refresh it and connect again.",
    ),
    Farewell.ACCOUNT_SUSPENDED: (
        Reason.ACCOUNT_SUSPENDED,
        "An operator suspended this account. Ask the operator of this server.",
    ),
    Farewell.LEASE_EXPIRED: (
        Reason.LEASE_EXPIRED,
        "No frame and no heartbeat came within the lease. Connect again.",
    ),
}


def refusal_for(farewell: Farewell, reconnect_after_seconds: float) -> Refusal:
    """The status that ends the stream after its GoAway."""
    reason, message = _REFUSALS[farewell]
    retry = reconnect_after_seconds if reason.code is Code.UNAVAILABLE else None
    return Refusal(reason, message, retry_after_seconds=retry)
