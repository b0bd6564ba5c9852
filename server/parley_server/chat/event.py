"""The facts a channel's log is made of, as values. Pure: no encoding, no store, no clock."""

from __future__ import annotations

import enum
from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True)
class MessagePosted:
    """Somebody wrote a message. `attributes` are sorted by key."""

    text: str
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """Somebody became a member (role set) or ceased to be one (role None)."""

    user_id: str
    change: MemberChange
    role: Role | None


@dataclass(frozen=True, slots=True)
class ChannelChanged:
    """The channel's settings as they are after this event; `created` on the first event of the log."""

    created: bool
    kind: ChannelKind
    title: str
    history_visibility: HistoryVisibility
    member_limit: int


EventBody = MessagePosted | MemberChanged | ChannelChanged


@dataclass(frozen=True, slots=True)
class Event:
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
