"""The port to what is derived from the logs: members, inboxes, and where a client's id went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    `windows` ascend and do not overlap; the newest 64 are kept. `joined_seq` is the newest joining.
    `joined_message_no` is the number of messages before the newest window (0 with FROM_START), for unread
    counts.
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

    async def seqs_of(self, channel_id: str, actor_id: str, client_message_id: str) -> tuple[int, ...]:
        """Seqs that may carry this client id: candidates, to be checked against the log. A handful."""
        ...
