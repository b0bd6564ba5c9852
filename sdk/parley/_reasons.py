"""One exception class per `parley.error.v1.ErrorReason`, and the way from the wire to them.

Written out so that editors and type checkers see them; a test compares them with the enum both ways.
"""

from __future__ import annotations

from parley._errors import ParleyError


class InvalidField(ParleyError):
    """INVALID_ARGUMENT: a field breaks its documented rule. BadRequest names it."""


class MalformedFrame(ParleyError):
    """INVALID_ARGUMENT: a stream frame cannot be parsed. Ends the stream."""


class HelloRequired(ParleyError):
    """INVALID_ARGUMENT: the first frame was not a Hello, or none came in time. Ends the stream."""


class HelloRepeated(ParleyError):
    """INVALID_ARGUMENT: a second Hello on one stream. Ends the stream."""


class UnknownRequest(ParleyError):
    """INVALID_ARGUMENT: a ConnectRequest carries no request the server knows."""


class TokenMissing(ParleyError):
    """UNAUTHENTICATED: no `authorization: Bearer <token>` metadata."""


class TokenInvalid(ParleyError):
    """UNAUTHENTICATED: the access token is malformed, or signed by nobody we trust."""


class TokenExpired(ParleyError):
    """UNAUTHENTICATED: the access token has expired. Call Refresh."""


class DeviceRevoked(ParleyError):
    """UNAUTHENTICATED: this device was logged out or revoked. Log in again."""


class AccountSuspended(ParleyError):
    """UNAUTHENTICATED: an operator suspended the account."""


class BadCredentials(ParleyError):
    """UNAUTHENTICATED: user name and password do not match."""


class RefreshTokenInvalid(ParleyError):
    """UNAUTHENTICATED: the refresh token is unknown or has expired. Log in again."""


class RefreshTokenReused(ParleyError):
    """UNAUTHENTICATED: an already used refresh token came back. The device was revoked."""


class RoleRequired(ParleyError):
    """PERMISSION_DENIED: the member's role does not allow this."""


class OperatorRequired(ParleyError):
    """PERMISSION_DENIED: only operators may call this."""


class SignUpClosed(ParleyError):
    """PERMISSION_DENIED: this server does not let people sign up by themselves."""


class NotAuthor(ParleyError):
    """PERMISSION_DENIED: only who wrote a message may change it."""


class UserNotFound(ParleyError):
    """NOT_FOUND: no such user."""


class ChannelNotFound(ParleyError):
    """NOT_FOUND: no such channel, or none that the caller may see."""


class MessageNotFound(ParleyError):
    """NOT_FOUND: no message at this seq, or none that the caller may see."""


class DeviceNotFound(ParleyError):
    """NOT_FOUND: no such device among the caller's own."""


class SessionNotFound(ParleyError):
    """NOT_FOUND: no such open session of the caller's device."""


class InviteNotFound(ParleyError):
    """NOT_FOUND: the invite is unknown, expired, used up or revoked, or not for you."""


class UsernameTaken(ParleyError):
    """ALREADY_EXISTS: the user name is taken."""


class ClientIdReused(ParleyError):
    """ALREADY_EXISTS: this client-made id was used before with other content."""


class MessageIdExpired(ParleyError):
    """FAILED_PRECONDITION: the client_message_id is older than 7 days by its own time."""


class DirectChannel(ParleyError):
    """FAILED_PRECONDITION: direct channels have two fixed members and no title."""


class LastOwner(ParleyError):
    """FAILED_PRECONDITION: the last owner cannot leave while others stay."""


class SelfChannel(ParleyError):
    """FAILED_PRECONDITION: a direct channel with oneself."""


class EditWindowOver(ParleyError):
    """FAILED_PRECONDITION: the time in which a message may be edited is over."""


class MessageDeleted(ParleyError):
    """FAILED_PRECONDITION: the message was deleted."""


class NestedThread(ParleyError):
    """FAILED_PRECONDITION: a message of a thread cannot begin another thread."""


class UserBanned(ParleyError):
    """FAILED_PRECONDITION: the user is banned from the channel. Unban first."""


class Blocked(ParleyError):
    """FAILED_PRECONDITION: one of the two users blocked the other."""


class UserDeleted(ParleyError):
    """FAILED_PRECONDITION: the other user of a direct channel deleted the account."""


class WrongPassword(ParleyError):
    """FAILED_PRECONDITION: the password given is not the account's."""


class LastOperator(ParleyError):
    """FAILED_PRECONDITION: the last operator cannot delete the account. Make another operator first."""


class RateLimited(ParleyError):
    """RESOURCE_EXHAUSTED: too many calls. RetryInfo says when to try again."""


class TooManyInFlight(ParleyError):
    """RESOURCE_EXHAUSTED: too many unanswered requests on this stream. Wait for replies."""


class ChannelFull(ParleyError):
    """RESOURCE_EXHAUSTED: the channel has as many members as it may have."""


class RequestTooLarge(ParleyError):
    """RESOURCE_EXHAUSTED: the request is larger than the server takes."""


class ChannelBusy(ParleyError):
    """RESOURCE_EXHAUSTED: more writes wait for this channel than the server holds. RetryInfo says when."""


class ServerBusy(ParleyError):
    """RESOURCE_EXHAUSTED: the server has as many streams, health watches or log-ins as it takes.

    RetryInfo says when.
    """


class SlowMode(ParleyError):
    """RESOURCE_EXHAUSTED: slow mode: the member wrote to the channel too recently. RetryInfo says when."""


class TooManyReactions(ParleyError):
    """RESOURCE_EXHAUSTED: the message has as many different reactions as it may have."""


class TooManyPins(ParleyError):
    """RESOURCE_EXHAUSTED: the channel has as many pinned messages as it may have."""


class TooManyInvites(ParleyError):
    """RESOURCE_EXHAUSTED: the channel has as many invites as it may have."""


class TooManyBans(ParleyError):
    """RESOURCE_EXHAUSTED: the channel has as many banned users as it may have."""


class TooManyContacts(ParleyError):
    """RESOURCE_EXHAUSTED: the caller has as many contacts, or blocks, as anybody may have."""


class StoreUnavailable(ParleyError):
    """UNAVAILABLE: a store cannot be reached, or its outcome is unknown.

    Retrying with the same client-made id is safe.
    """


class NodeStopping(ParleyError):
    """UNAVAILABLE: this node is leaving. Connect again, to another node if there is one."""


class SlowReader(ParleyError):
    """UNAVAILABLE: the client read too slowly and its stream was ended. Connect again."""


class LeaseExpired(ParleyError):
    """UNAVAILABLE: nothing was heard of the client within its lease, and its stream was ended.

    Connect again.
    """


class Internal(ParleyError):
    """INTERNAL: a defect of the server. The message carries an id to look up in its log."""


def class_name(reason: str) -> str:
    """The name of the class for a reason: RATE_LIMITED → RateLimited."""
    return "".join(word.capitalize() for word in reason.split("_"))


CLASSES: dict[str, type[ParleyError]] = {
    error.__name__: error for error in ParleyError.__subclasses__() if error.__module__ == __name__
}
"""Every reason's class by its name."""
