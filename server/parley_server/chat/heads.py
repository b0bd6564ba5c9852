"""Where the logs of a user's channels end, as far as the user may see, and how far the user has read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_server.ports.positions import NOTHING_READ, Positions, ReadMark

if TYPE_CHECKING:
    from parley_server.chat.inbox import Inbox
    from parley_server.ports.projections import ChannelRow, MemberRow, Projections


@dataclass(frozen=True, slots=True)
class Head:
    """Where a channel's log ends for one user, and how far the user has read. For a former member it ends
    with the event of leaving.
    """

    channel_id: str
    head_seq: int
    head_message_no: int
    joined_seq: int
    read: ReadMark
    last_activity_ms: int
    member_count: int


class Heads:
    """Reads heads. Raises StoreUnavailable."""

    def __init__(self, inbox: Inbox, projections: Projections, positions: Positions) -> None:
        self._inbox = inbox
        self._projections = projections
        self._positions = positions

    async def all(self, user_id: str) -> dict[str, Head]:
        """The heads of all channels that the user is a member of now, by channel id."""
        heads: dict[str, Head] = {}
        async for page in self._inbox.heads(user_id):
            for row, read in page:
                heads[row.channel.channel_id] = _head(row.channel, row.member, read)
        return heads

    async def one(self, user_id: str, channel_id: str) -> Head | None:
        """The head of one channel, or None if the user never was a member."""
        member = await self._projections.member(channel_id, user_id)
        if member is None:
            return None
        if member.role is None:
            return _former(member)
        channel = await self._projections.channel(channel_id)
        if channel is None:
            return None
        marks = await self._positions.read_marks(user_id, [channel_id])
        return _head(channel, member, marks.get(channel_id, NOTHING_READ))


def _former(member: MemberRow) -> Head:
    left_seq = member.windows[-1].to_seq or 0
    return Head(member.channel_id, left_seq, 0, member.joined_seq, NOTHING_READ, 0, 0)


def _head(channel: ChannelRow, member: MemberRow, read: ReadMark) -> Head:
    return Head(
        channel.channel_id,
        channel.watermark,
        channel.message_no,
        member.joined_seq,
        read,
        channel.last_activity_ms,
        channel.member_count,
    )
