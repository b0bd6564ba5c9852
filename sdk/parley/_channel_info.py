"""What channels and memberships are, apart from what is said in them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parley.channel.v1 import channel_pb2


class _OfTheContract(enum.IntEnum):
    """Numbers of the contract. One that this version does not know reads as UNSPECIFIED."""

    @classmethod
    def _missing_(cls, value: object) -> _OfTheContract | None:
        return cls(0) if isinstance(value, int) else None


class ChannelKind(_OfTheContract):
    """What kind of conversation a channel is."""

    UNSPECIFIED = 0
    DIRECT = 1
    GROUP = 2


class HistoryVisibility(_OfTheContract):
    """Which past a new member may read."""

    UNSPECIFIED = 0
    FROM_JOINING = 1
    FROM_START = 2


class Role(_OfTheContract):
    """What a member may do. UNSPECIFIED for somebody who is no member any more."""

    UNSPECIFIED = 0
    MEMBER = 1
    ADMIN = 2
    OWNER = 3


class MemberChange(_OfTheContract):
    """What happened to a membership."""

    UNSPECIFIED = 0
    ADDED = 1
    LEFT = 2
    REMOVED = 3
    ROLE_CHANGED = 4


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """A channel as it was when the server answered. `title` is empty for direct channels.

    `head_seq` is the newest event's seq, `head_message_no` the number of messages up to it.
    `create_time_ms` is in milliseconds since 1970-01-01 UTC. With `slow_mode_seconds`, a member may write
    once in so many seconds; 0: any time. `pinned_seqs`, the newest pin first, are told by `Channel.info` and
    `Channel.update` only, and empty otherwise.
    """

    channel_id: str
    kind: ChannelKind
    title: str
    history_visibility: HistoryVisibility
    creator_id: str
    create_time_ms: int
    member_count: int
    member_limit: int
    head_seq: int
    head_message_no: int
    description: str = ""
    slow_mode_seconds: int = 0
    pinned_seqs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """One user's membership. `joined_seq` is the event it began with; `read_seq` 0 means nothing read yet."""

    user_id: str
    role: Role
    joined_seq: int
    read_seq: int


@dataclass(frozen=True, slots=True)
class ReadPosition:
    """How far a user has read: up to the event `read_seq`, which is `read_message_no` messages."""

    read_seq: int
    read_message_no: int


def channel_info_of(channel: channel_pb2.Channel) -> ChannelInfo:
    """The channel that a message of the contract carries."""
    return ChannelInfo(
        channel_id=channel.channel_id,
        kind=ChannelKind(channel.kind),
        title=channel.title,
        history_visibility=HistoryVisibility(channel.history_visibility),
        creator_id=channel.creator_id,
        create_time_ms=channel.create_time.ToMilliseconds(),
        member_count=channel.member_count,
        member_limit=channel.member_limit,
        head_seq=channel.head_seq,
        head_message_no=channel.head_message_no,
        description=channel.description,
        slow_mode_seconds=channel.slow_mode_seconds,
        pinned_seqs=tuple(channel.pinned_seqs),
    )


def member_of(member: channel_pb2.Member) -> Member:
    """The membership that a message of the contract carries."""
    return Member(
        user_id=member.user_id,
        role=Role(member.role),
        joined_seq=member.joined_seq,
        read_seq=member.read_seq,
    )
