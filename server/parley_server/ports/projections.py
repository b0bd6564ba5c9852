"""The port to what is derived from the logs: members, inboxes, what became of messages, where a client's id
went.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parley_server.chat.event import ChannelKind, Event, HistoryVisibility, Role


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A channel as of `watermark`, the seq of the last event applied."""

    channel_id: str
    kind: ChannelKind
    title: str
    history_visibility: HistoryVisibility
    member_limit: int
    creator_id: str
    create_time_ms: int
    member_count: int
    watermark: int
    message_no: int
    last_activity_ms: int
    last_message_seq: int
    description: str = ""
    slow_mode_seconds: int = 0
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """A span of seqs that a member may read; `to_seq` None while the membership lasts."""

    from_seq: int
    to_seq: int | None

    def holds(self, seq: int) -> bool:
        """Whether `seq` lies in the span."""
        return self.from_seq <= seq and (self.to_seq is None or seq <= self.to_seq)


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A user's memberships in one channel, over and present. `role` is None for a former member.

    `windows` ascend and do not overlap; the newest 64 are kept. Once a channel is deleted the one window of
    who was a member then holds just the event that says so, and nobody else has a row. `joined_seq` is the
    newest joining. `joined_message_no` is the number of messages before the newest window (0 with
    FROM_START), for unread counts.
    """

    channel_id: str
    user_id: str
    role: Role | None
    joined_seq: int
    joined_message_no: int
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class InboxRow:
    """One of a user's channels: the channel as projected and the user's membership in it."""

    channel: ChannelRow
    member: MemberRow
    peer_user_id: str


@dataclass(frozen=True, slots=True)
class ReactionRow:
    """One emoji on a message: how many users put it there, the first of them by seq (at most 10), and
    whether the viewer is among them all.
    """

    emoji: str
    count: int
    user_ids: tuple[str, ...]
    own: bool


@dataclass(frozen=True, slots=True)
class MessageState:
    """What became of a message; 0 stands for never, and for none.

    `edit_seq` is the newest edit. A deleted message keeps `edit_seq`, has no reactions and no pin.
    `reply_count` counts the messages in its thread, deleted ones included. `reactions` are ordered by the seq
    at which their emoji came first.
    """

    seq: int
    edit_seq: int = 0
    edit_time_ms: int = 0
    delete_seq: int = 0
    pin_seq: int = 0
    reply_count: int = 0
    last_reply_seq: int = 0
    reactions: tuple[ReactionRow, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageStates:
    """States as of one moment: every event up to `as_of_seq` is in them, none after it.

    `states` has no entry for a message to which nothing happened. `erased_authors` says up to which seq
    whatever a user wrote is deleted. `deleted` is true once the channel was.
    """

    as_of_seq: int
    states: Mapping[int, MessageState]
    erased_authors: Mapping[str, int]
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class InviteRow:
    """An invite. `use_limit` 0: any number of times."""

    invite_id: str
    creator_id: str
    create_time_ms: int
    expire_time_ms: int
    use_limit: int
    uses: int


@dataclass(frozen=True, slots=True)
class BanRow:
    """A ban that holds."""

    user_id: str
    actor_id: str
    create_time_ms: int


class Projections(Protocol):
    """Derived state, one watermark per channel.

    Laws: `apply` takes events in order from watermark + 1 on; events at or below the watermark are passed
    over, so that applying again changes nothing; a gap is refused with ValueError. A read that starts after
    `apply` returned sees its effect. Everything here can be rebuilt from the logs. Reads raise
    StoreUnavailable (see message_log) when the store cannot answer.
    """

    async def apply(self, channel_id: str, events: Sequence[Event]) -> None:
        """Bring the channel up to the last of `events` (ascending, dense), all at once or not at all."""
        ...

    async def watermark(self, channel_id: str) -> int:
        """The seq of the last event applied; 0 for a channel never seen."""
        ...

    async def channel(self, channel_id: str) -> ChannelRow | None:
        """The channel, or None if it was never made."""
        ...

    async def member(self, channel_id: str, user_id: str) -> MemberRow | None:
        """The membership, present or former, or None if there never was one."""
        ...

    async def members(self, channel_id: str, *, after_user_id: str, limit: int) -> tuple[MemberRow, ...]:
        """Present members with a user id greater than `after_user_id`, ascending by user id."""
        ...

    async def channels_of(self, user_id: str, *, after_channel_id: str, limit: int) -> tuple[InboxRow, ...]:
        """Channels the user is a member of now, ascending by channel id, after the given one."""
        ...

    async def inbox(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> tuple[InboxRow, ...]:
        """Channels the user is a member of now, newest (last_activity_ms, channel_id) first, all strictly
        before `before`.

        `peer_user_id` is the other member of a direct channel, empty for groups.
        """
        ...

    async def message_states(self, channel_id: str, seqs: Sequence[int], *, viewer_id: str) -> MessageStates:
        """What became of the messages at `seqs` (any number, in any order), as `viewer_id` sees it, all as of
        one moment.
        """
        ...

    async def edits_of(self, channel_id: str, seq: int) -> tuple[int, ...]:
        """The seqs of all edits of the message at `seq`, ascending."""
        ...

    async def own_reactions(self, channel_id: str, seq: int, user_id: str) -> frozenset[str]:
        """The emojis that the user has on the message at `seq`."""
        ...

    async def thread(self, channel_id: str, root_seq: int, *, before_seq: int, limit: int) -> tuple[int, ...]:
        """Seqs smaller than `before_seq` of messages in the thread of `root_seq`, descending."""
        ...

    async def pins(self, channel_id: str) -> tuple[tuple[int, str], ...]:
        """The pinned messages: (seq, author id), the newest pin first."""
        ...

    async def invites(self, channel_id: str) -> tuple[InviteRow, ...]:
        """The invites that were not revoked and, as of the channel's last activity, neither expired nor used
        up; ascending by (create_time_ms, invite_id).
        """
        ...

    async def bans(self, channel_id: str, *, after_user_id: str, limit: int) -> tuple[BanRow, ...]:
        """The bans that hold, ascending by user id, after the given one."""
        ...

    async def memberships_of(
        self, user_id: str, *, after_channel_id: str, limit: int
    ) -> tuple[MemberRow, ...]:
        """The user's memberships, present and former, ascending by channel id, after the given one."""
        ...

    async def erasures_due(self, *, after: tuple[str, int], limit: int) -> tuple[tuple[str, int], ...]:
        """Events (channel id, seq) of the kinds MessageDeleted, AuthorErased and ChannelDeleted that were
        applied and not yet reported by `erasure_done`; ascending, after the given one.
        """
        ...

    async def erasure_done(self, channel_id: str, seq: int) -> None:
        """What the event at `seq` deleted is gone from the log: it is due no more, though rebuilding makes it
        due again. Need not be durable at once.
        """
        ...

    async def seqs_of(self, channel_id: str, actor_id: str, client_message_id: str) -> tuple[int, ...]:
        """Seqs that may carry this client id: candidates, to be checked against the log. A handful."""
        ...
