"""The facts a channel's log is made of, as values. Pure: no encoding, no store, no clock."""

from __future__ import annotations

import enum

import msgspec


class ChannelKind(enum.IntEnum):
    """As `parley.channel.v1.ChannelKind`."""

    DIRECT = 1
    GROUP = 2


class HistoryVisibility(enum.IntEnum):
    """As `parley.channel.v1.HistoryVisibility`."""

    FROM_JOINING = 1
    FROM_START = 2


class Role(enum.IntEnum):
    """As `parley.channel.v1.Role`; a larger number may do all that a smaller one may."""

    MEMBER = 1
    ADMIN = 2
    OWNER = 3


class MemberChange(enum.IntEnum):
    """As `parley.chat.v1.MemberChange`."""

    ADDED = 1
    LEFT = 2
    REMOVED = 3
    ROLE_CHANGED = 4


class MessagePosted(msgspec.Struct, frozen=True):
    """Somebody wrote a message. `attributes` are sorted by key; seqs are 0 where there is none."""

    text: str
    attributes: tuple[tuple[str, str], ...] = ()
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    reply_to_seq: int = 0
    thread_root_seq: int = 0


class MessageEdited(msgspec.Struct, frozen=True):
    """The author replaced the content of the message at `target_seq`."""

    target_seq: int
    text: str
    attributes: tuple[tuple[str, str], ...] = ()
    mentions: tuple[str, ...] = ()
    mention_all: bool = False


class MessageDeleted(msgspec.Struct, frozen=True):
    """The message at `target_seq` is a tombstone from here on."""

    target_seq: int


class ReactionChanged(msgspec.Struct, frozen=True):
    """The actor put an emoji on the message at `target_seq`, or took it off. `count`: how many users have
    it there after this event.
    """

    target_seq: int
    emoji: str
    added: bool
    count: int


class PinChanged(msgspec.Struct, frozen=True):
    """The message at `target_seq`, which `author_id` wrote, was pinned to the channel, or is so no more."""

    target_seq: int
    pinned: bool
    author_id: str = ""


class MemberChanged(msgspec.Struct, frozen=True):
    """Somebody became a member, has another role (role set), or ceased to be one (role None).

    `invite_id` names the invite by which somebody joined; empty otherwise.
    """

    user_id: str
    change: MemberChange
    role: Role | None
    invite_id: str = ""


class ChannelChanged(msgspec.Struct, frozen=True):
    """The channel's settings as they are after this event; `created` on the first event of the log."""

    created: bool
    kind: ChannelKind
    title: str
    history_visibility: HistoryVisibility
    member_limit: int
    description: str = ""
    slow_mode_seconds: int = 0


class ChannelDeleted(msgspec.Struct, frozen=True):
    """The last event of a log: nobody is a member any more, and nothing before it is served."""


class BanChanged(msgspec.Struct, frozen=True):
    """A user may not be a member, or may be one again. A banned member is removed by the next event."""

    user_id: str
    banned: bool


class InviteChanged(msgspec.Struct, frozen=True):
    """An invite was made, or revoked. `invite_id` is a digest of its code: nobody can join with it."""

    invite_id: str
    revoked: bool
    expire_time_ms: int
    use_limit: int


class AuthorErased(msgspec.Struct, frozen=True):
    """Everything that this user wrote up to here is a tombstone: the account was deleted."""

    user_id: str


MessageChange = MessageEdited | MessageDeleted | ReactionChanged | PinChanged
"""What changes one message, named by `target_seq`."""

EventBody = (
    MessagePosted
    | MemberChanged
    | ChannelChanged
    | MessageEdited
    | MessageDeleted
    | ReactionChanged
    | PinChanged
    | BanChanged
    | InviteChanged
    | AuthorErased
    | ChannelDeleted
)


class Event(msgspec.Struct, frozen=True):
    """One numbered fact. `seq` is dense from 1; `message_no` counts the messages up to and including it.

    `digest` identifies the content that came with `client_message_id` (32 bytes; empty without one):
    two requests with one id and one digest are the same request.
    """

    channel_id: str
    seq: int
    message_no: int
    create_time_ms: int
    actor_id: str
    client_message_id: str
    digest: bytes
    body: EventBody
