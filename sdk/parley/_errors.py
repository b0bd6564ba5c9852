"""Every failure of a call is a `ParleyError`: what they have in common, and those that no server sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpc import StatusCode

from parley._advice import Advice, advise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that breaks its rule. `field` is its path in the request, as in `google.rpc.BadRequest`."""

    field: str
    description: str


class ParleyError(Exception):
    """A call that failed.

    `code` is the gRPC status code. `reason` is the name of a `parley.error.v1.ErrorReason` without its
    prefix, and "" when the failure carries none. `message` is for people. `violations` name the fields that
    were refused. `retry_after_seconds` is the wait that the server asked for, None when it asked for none.
    `metadata` are further facts of the server about the failure.

    Each reason has a subclass named after it: RATE_LIMITED is `RateLimited`. A reason of a newer server,
    which this version has no class for, comes as plain `ParleyError`.
    """

    def __init__(
        self,
        message: str,
        *,
        code: StatusCode,
        reason: str = "",
        violations: Sequence[Violation] = (),
        retry_after_seconds: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.violations = tuple(violations)
        self.retry_after_seconds = retry_after_seconds
        self.metadata = dict(metadata or {})

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"

    @property
    def advice(self) -> Advice:
        """What helps, decided from `code` and `reason` alone."""
        return advise(self.code, self.reason)


class Unreachable(ParleyError):
    """UNAVAILABLE, no reason: no connection to the server, or it broke before the answer came.

    Whether the call was carried out is unknown. Repeating it with the same client-made id is safe.
    """


class TimedOut(ParleyError):
    """DEADLINE_EXCEEDED: no answer in time. Whether the call was carried out is unknown.

    Repeating it with the same client-made id is safe.
    """

    @classmethod
    def after(cls, seconds: float) -> Self:
        """The error of a call that got no answer within `seconds`."""
        return cls(f"No answer within {seconds:g} s.", code=StatusCode.DEADLINE_EXCEEDED)


class OutboxFull(ParleyError):
    """RESOURCE_EXHAUSTED: as many messages wait to be sent as the outbox holds. Nothing was stored.

    Wait until some are answered (`Client.flush`), or give `connect` a larger `outbox_limit`.
    """

    @classmethod
    def at(cls, count: int, size_bytes: int) -> Self:
        """The error while so much waits."""
        return cls(
            f"{count} messages with {size_bytes} bytes wait in the outbox already.",
            code=StatusCode.RESOURCE_EXHAUSTED,
            reason="OUTBOX_FULL",
        )


class Disconnected(ParleyError):
    """A stream of events broke; the client opens another. It is what `Client.status` shows meanwhile.

    `reason` is the server's (NODE_STOPPING, SLOW_READER, TOKEN_EXPIRED, LEASE_EXPIRED, or any
    `ErrorReason`), or the client's own: CONNECTION_LOST, NO_ANSWER (a heartbeat was not answered),
    STREAM_ENDED (the server ended the stream without saying why), STREAM_BEHIND (the server knew of news that
    did not come). `retry_after_seconds` is how long the server asks to wait before a new stream.

    TOKEN_EXPIRED has the code UNAVAILABLE here: the next stream begins with a renewed token.
    """
