"""Errors as values: every failure that a caller is told of is a `Refusal` with a `Reason`."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Code(enum.IntEnum):
    """gRPC status codes (https://grpc.github.io/grpc/core/md_doc_statuscodes.html), without needing gRPC."""

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class Reason(enum.Enum):
    """The closed catalogue: `parley.error.v1.ErrorReason` with the code that each name always has."""

    INVALID_FIELD = ("INVALID_FIELD", Code.INVALID_ARGUMENT)
    MALFORMED_FRAME = ("MALFORMED_FRAME", Code.INVALID_ARGUMENT)
    HELLO_REQUIRED = ("HELLO_REQUIRED", Code.INVALID_ARGUMENT)
    HELLO_REPEATED = ("HELLO_REPEATED", Code.INVALID_ARGUMENT)
    UNKNOWN_REQUEST = ("UNKNOWN_REQUEST", Code.INVALID_ARGUMENT)
    TOKEN_MISSING = ("TOKEN_MISSING", Code.UNAUTHENTICATED)
    TOKEN_INVALID = ("TOKEN_INVALID", Code.UNAUTHENTICATED)
    TOKEN_EXPIRED = ("TOKEN_EXPIRED", Code.UNAUTHENTICATED)
    DEVICE_REVOKED = ("DEVICE_REVOKED", Code.UNAUTHENTICATED)
    ACCOUNT_SUSPENDED = ("ACCOUNT_SUSPENDED", Code.UNAUTHENTICATED)
    BAD_CREDENTIALS = ("BAD_CREDENTIALS", Code.UNAUTHENTICATED)
    REFRESH_TOKEN_INVALID = ("REFRESH_TOKEN_INVALID", Code.UNAUTHENTICATED)
    REFRESH_TOKEN_REUSED = ("REFRESH_TOKEN_REUSED", Code.UNAUTHENTICATED)
    ROLE_REQUIRED = ("ROLE_REQUIRED", Code.PERMISSION_DENIED)
    OPERATOR_REQUIRED = ("OPERATOR_REQUIRED", Code.PERMISSION_DENIED)
    SIGN_UP_CLOSED = ("SIGN_UP_CLOSED", Code.PERMISSION_DENIED)
    NOT_AUTHOR = ("NOT_AUTHOR", Code.PERMISSION_DENIED)
    USER_NOT_FOUND = ("USER_NOT_FOUND", Code.NOT_FOUND)
    CHANNEL_NOT_FOUND = ("CHANNEL_NOT_FOUND", Code.NOT_FOUND)
    MESSAGE_NOT_FOUND = ("MESSAGE_NOT_FOUND", Code.NOT_FOUND)
    DEVICE_NOT_FOUND = ("DEVICE_NOT_FOUND", Code.NOT_FOUND)
    SESSION_NOT_FOUND = ("SESSION_NOT_FOUND", Code.NOT_FOUND)
    INVITE_NOT_FOUND = ("INVITE_NOT_FOUND", Code.NOT_FOUND)
    USERNAME_TAKEN = ("USERNAME_TAKEN", Code.ALREADY_EXISTS)
    CLIENT_ID_REUSED = ("CLIENT_ID_REUSED", Code.ALREADY_EXISTS)
    MESSAGE_ID_EXPIRED = ("MESSAGE_ID_EXPIRED", Code.FAILED_PRECONDITION)
    DIRECT_CHANNEL = ("DIRECT_CHANNEL", Code.FAILED_PRECONDITION)
    LAST_OWNER = ("LAST_OWNER", Code.FAILED_PRECONDITION)
    SELF_CHANNEL = ("SELF_CHANNEL", Code.FAILED_PRECONDITION)
    EDIT_WINDOW_OVER = ("EDIT_WINDOW_OVER", Code.FAILED_PRECONDITION)
    MESSAGE_DELETED = ("MESSAGE_DELETED", Code.FAILED_PRECONDITION)
    NESTED_THREAD = ("NESTED_THREAD", Code.FAILED_PRECONDITION)
    USER_BANNED = ("USER_BANNED", Code.FAILED_PRECONDITION)
    BLOCKED = ("BLOCKED", Code.FAILED_PRECONDITION)
    USER_DELETED = ("USER_DELETED", Code.FAILED_PRECONDITION)
    WRONG_PASSWORD = ("WRONG_PASSWORD", Code.FAILED_PRECONDITION)
    LAST_OPERATOR = ("LAST_OPERATOR", Code.FAILED_PRECONDITION)
    RATE_LIMITED = ("RATE_LIMITED", Code.RESOURCE_EXHAUSTED)
    TOO_MANY_IN_FLIGHT = ("TOO_MANY_IN_FLIGHT", Code.RESOURCE_EXHAUSTED)
    CHANNEL_FULL = ("CHANNEL_FULL", Code.RESOURCE_EXHAUSTED)
    REQUEST_TOO_LARGE = ("REQUEST_TOO_LARGE", Code.RESOURCE_EXHAUSTED)
    CHANNEL_BUSY = ("CHANNEL_BUSY", Code.RESOURCE_EXHAUSTED)
    SERVER_BUSY = ("SERVER_BUSY", Code.RESOURCE_EXHAUSTED)
    SLOW_MODE = ("SLOW_MODE", Code.RESOURCE_EXHAUSTED)
    TOO_MANY_REACTIONS = ("TOO_MANY_REACTIONS", Code.RESOURCE_EXHAUSTED)
    TOO_MANY_PINS = ("TOO_MANY_PINS", Code.RESOURCE_EXHAUSTED)
    TOO_MANY_INVITES = ("TOO_MANY_INVITES", Code.RESOURCE_EXHAUSTED)
    TOO_MANY_BANS = ("TOO_MANY_BANS", Code.RESOURCE_EXHAUSTED)
    TOO_MANY_CONTACTS = ("TOO_MANY_CONTACTS", Code.RESOURCE_EXHAUSTED)
    STORE_UNAVAILABLE = ("STORE_UNAVAILABLE", Code.UNAVAILABLE)
    NODE_STOPPING = ("NODE_STOPPING", Code.UNAVAILABLE)
    SLOW_READER = ("SLOW_READER", Code.UNAVAILABLE)
    LEASE_EXPIRED = ("LEASE_EXPIRED", Code.UNAVAILABLE)
    INTERNAL = ("INTERNAL", Code.INTERNAL)

    @property
    def text(self) -> str:
        """The name as it travels in `google.rpc.ErrorInfo.reason`."""
        return self.value[0]

    @property
    def code(self) -> Code:
        """The gRPC status code that always goes with this reason."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that breaks its rule; `field` is its path in the request, as in `google.rpc.BadRequest`."""

    field: str
    description: str


@dataclass(eq=True)
class Refusal(Exception):
    """A request that was not carried out, and why. Nothing of it was done.

    `message` is for people and says what to do. `retry_after_seconds` is set on RESOURCE_EXHAUSTED and
    UNAVAILABLE where waiting helps. Pure functions return it; shells raise it; one place turns it into
    a `google.rpc.Status`.
    """

    reason: Reason
    message: str
    violations: tuple[Violation, ...] = ()
    retry_after_seconds: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.reason.text}: {self.message}"

    __hash__ = Exception.__hash__


def invalid_field(path: str, description: str) -> Refusal:
    """The refusal for one field that breaks its documented rule."""
    return Refusal(Reason.INVALID_FIELD, f"{path}: {description}", violations=(Violation(path, description),))


def channel_not_found() -> Refusal:
    """The one answer for a channel that does not exist and for one the caller may not see: byte-equal."""
    return Refusal(
        Reason.CHANNEL_NOT_FOUND, "No such channel, or none that you may see. Check the channel id."
    )


def user_not_found() -> Refusal:
    """The answer for a user id or name that belongs to nobody."""
    return Refusal(Reason.USER_NOT_FOUND, "No such user. Check the user id or the user name.")
