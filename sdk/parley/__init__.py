"""The client of Parley, and under `parley.<area>.v1` the generated code of its contract.

    import parley

    tokens = await parley.log_in("localhost:50051", "alice", "a long password")
    async with parley.connect("localhost:50051", token=tokens, on_tokens=store) as client:
        channel = await client.direct("@bob")
        await channel.send("hello")
        async for event in client.events():
            ...

`docs/sdk.md` tells what it promises and how to use it.

The names below are loaded when they are first used: whoever imports only the generated code, as a server
does, loads nothing of the client.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parley._administration import Administration
    from parley._advice import Advice
    from parley._channel import Channel
    from parley._channel_info import (
        ChannelInfo,
        ChannelKind,
        HistoryVisibility,
        Member,
        MemberChange,
        ReadPosition,
        Role,
    )
    from parley._client import Client, connect
    from parley._client_status import ClientStatus, Phase
    from parley._device import Device
    from parley._errors import Disconnected, OutboxFull, ParleyError, TimedOut, Unreachable, Violation
    from parley._event_stream import EventStream
    from parley._events import (
        AuthorErasedEvent,
        BanEvent,
        ChannelDeletedEvent,
        ChannelEvent,
        DeleteEvent,
        EditEvent,
        Event,
        InviteEvent,
        MemberEvent,
        Message,
        MessageEvent,
        PinEvent,
        ReactionEvent,
        UnknownEvent,
    )
    from parley._inbox import InboxEntry
    from parley._invite import Ban, Invite
    from parley._login import log_in, sign_up
    from parley._message_calls import Change, Placed
    from parley._message_state import MessageState, Reaction
    from parley._reasons import (
        AccountSuspended,
        BadCredentials,
        Blocked,
        ChannelBusy,
        ChannelFull,
        ChannelNotFound,
        ClientIdReused,
        DeviceNotFound,
        DeviceRevoked,
        DirectChannel,
        EditWindowOver,
        HelloRepeated,
        HelloRequired,
        Internal,
        InvalidField,
        InviteNotFound,
        LastOperator,
        LastOwner,
        LeaseExpired,
        MalformedFrame,
        MessageDeleted,
        MessageIdExpired,
        MessageNotFound,
        NestedThread,
        NodeStopping,
        NotAuthor,
        OperatorRequired,
        RateLimited,
        RefreshTokenInvalid,
        RefreshTokenReused,
        RequestTooLarge,
        RoleRequired,
        SelfChannel,
        ServerBusy,
        SessionNotFound,
        SignUpClosed,
        SlowMode,
        SlowReader,
        StoreUnavailable,
        TokenExpired,
        TokenInvalid,
        TokenMissing,
        TooManyBans,
        TooManyContacts,
        TooManyInFlight,
        TooManyInvites,
        TooManyPins,
        TooManyReactions,
        UnknownRequest,
        UserBanned,
        UserDeleted,
        UsernameTaken,
        UserNotFound,
        WrongPassword,
    )
    from parley._relations import BlockedUser, Contact
    from parley._sent import Outcome, Sent, WaitingMessage
    from parley._session import ChannelHead
    from parley._sqlite_state import SqliteState
    from parley._state import MemoryState, State, StateError, StoredState
    from parley._stored import Stored
    from parley._timeline import Timeline, TimelineSettings
    from parley._timeline_message import TimelineMessage
    from parley._tokens import Tokens
    from parley._transport import Tls
    from parley._user import User
    from parley._uuid7 import derived_id, new_id

_HOMES = {
    "_administration": ("Administration",),
    "_advice": ("Advice",),
    "_channel": ("Channel",),
    "_channel_info": (
        "ChannelInfo",
        "ChannelKind",
        "HistoryVisibility",
        "Member",
        "MemberChange",
        "ReadPosition",
        "Role",
    ),
    "_client": (
        "Client",
        "connect",
    ),
    "_client_status": (
        "ClientStatus",
        "Phase",
    ),
    "_device": ("Device",),
    "_errors": (
        "Disconnected",
        "OutboxFull",
        "ParleyError",
        "TimedOut",
        "Unreachable",
        "Violation",
    ),
    "_event_stream": ("EventStream",),
    "_events": (
        "AuthorErasedEvent",
        "BanEvent",
        "ChannelDeletedEvent",
        "ChannelEvent",
        "DeleteEvent",
        "EditEvent",
        "Event",
        "InviteEvent",
        "MemberEvent",
        "Message",
        "MessageEvent",
        "PinEvent",
        "ReactionEvent",
        "UnknownEvent",
    ),
    "_inbox": ("InboxEntry",),
    "_invite": (
        "Ban",
        "Invite",
    ),
    "_login": (
        "log_in",
        "sign_up",
    ),
    "_message_calls": (
        "Change",
        "Placed",
    ),
    "_message_state": (
        "MessageState",
        "Reaction",
    ),
    "_reasons": (
        "AccountSuspended",
        "BadCredentials",
        "Blocked",
        "ChannelBusy",
        "ChannelFull",
        "ChannelNotFound",
        "ClientIdReused",
        "DeviceNotFound",
        "DeviceRevoked",
        "DirectChannel",
        "EditWindowOver",
        "HelloRepeated",
        "HelloRequired",
        "Internal",
        "InvalidField",
        "InviteNotFound",
        "LastOperator",
        "LastOwner",
        "LeaseExpired",
        "MalformedFrame",
        "MessageDeleted",
        "MessageIdExpired",
        "MessageNotFound",
        "NestedThread",
        "NodeStopping",
        "NotAuthor",
        "OperatorRequired",
        "RateLimited",
        "RefreshTokenInvalid",
        "RefreshTokenReused",
        "RequestTooLarge",
        "RoleRequired",
        "SelfChannel",
        "ServerBusy",
        "SessionNotFound",
        "SignUpClosed",
        "SlowMode",
        "SlowReader",
        "StoreUnavailable",
        "TokenExpired",
        "TokenInvalid",
        "TokenMissing",
        "TooManyBans",
        "TooManyContacts",
        "TooManyInFlight",
        "TooManyInvites",
        "TooManyPins",
        "TooManyReactions",
        "UnknownRequest",
        "UserBanned",
        "UserDeleted",
        "UserNotFound",
        "UsernameTaken",
        "WrongPassword",
    ),
    "_relations": (
        "BlockedUser",
        "Contact",
    ),
    "_sent": (
        "Outcome",
        "Sent",
        "WaitingMessage",
    ),
    "_session": ("ChannelHead",),
    "_sqlite_state": ("SqliteState",),
    "_state": (
        "MemoryState",
        "State",
        "StateError",
        "StoredState",
    ),
    "_stored": ("Stored",),
    "_timeline": ("Timeline", "TimelineSettings"),
    "_timeline_message": ("TimelineMessage",),
    "_tokens": ("Tokens",),
    "_transport": ("Tls",),
    "_user": ("User",),
    "_uuid7": (
        "derived_id",
        "new_id",
    ),
}

__all__ = [
    "AccountSuspended",
    "Administration",
    "Advice",
    "AuthorErasedEvent",
    "BadCredentials",
    "Ban",
    "BanEvent",
    "Blocked",
    "BlockedUser",
    "Change",
    "Channel",
    "ChannelBusy",
    "ChannelDeletedEvent",
    "ChannelEvent",
    "ChannelFull",
    "ChannelHead",
    "ChannelInfo",
    "ChannelKind",
    "ChannelNotFound",
    "Client",
    "ClientIdReused",
    "ClientStatus",
    "Contact",
    "DeleteEvent",
    "Device",
    "DeviceNotFound",
    "DeviceRevoked",
    "DirectChannel",
    "Disconnected",
    "EditEvent",
    "EditWindowOver",
    "Event",
    "EventStream",
    "HelloRepeated",
    "HelloRequired",
    "HistoryVisibility",
    "InboxEntry",
    "Internal",
    "InvalidField",
    "Invite",
    "InviteEvent",
    "InviteNotFound",
    "LastOperator",
    "LastOwner",
    "LeaseExpired",
    "MalformedFrame",
    "Member",
    "MemberChange",
    "MemberEvent",
    "MemoryState",
    "Message",
    "MessageDeleted",
    "MessageEvent",
    "MessageIdExpired",
    "MessageNotFound",
    "MessageState",
    "NestedThread",
    "NodeStopping",
    "NotAuthor",
    "OperatorRequired",
    "OutboxFull",
    "Outcome",
    "ParleyError",
    "Phase",
    "PinEvent",
    "Placed",
    "RateLimited",
    "Reaction",
    "ReactionEvent",
    "ReadPosition",
    "RefreshTokenInvalid",
    "RefreshTokenReused",
    "RequestTooLarge",
    "Role",
    "RoleRequired",
    "SelfChannel",
    "Sent",
    "ServerBusy",
    "SessionNotFound",
    "SignUpClosed",
    "SlowMode",
    "SlowReader",
    "SqliteState",
    "State",
    "StateError",
    "StoreUnavailable",
    "Stored",
    "StoredState",
    "TimedOut",
    "Timeline",
    "TimelineMessage",
    "TimelineSettings",
    "Tls",
    "TokenExpired",
    "TokenInvalid",
    "TokenMissing",
    "Tokens",
    "TooManyBans",
    "TooManyContacts",
    "TooManyInFlight",
    "TooManyInvites",
    "TooManyPins",
    "TooManyReactions",
    "UnknownEvent",
    "UnknownRequest",
    "Unreachable",
    "User",
    "UserBanned",
    "UserDeleted",
    "UserNotFound",
    "UsernameTaken",
    "Violation",
    "WaitingMessage",
    "WrongPassword",
    "connect",
    "derived_id",
    "log_in",
    "new_id",
    "sign_up",
]

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:  # To a type checker it would say that every name exists.

    def __getattr__(name: str) -> object:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(_import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
