"""What every call about one channel does: ask for the id and the membership, submit, read the channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import channel_not_found, invalid_field
from parley_server.chat.event import ChannelKind
from parley_server.chat.member_decisions import direct_channel
from parley_server.chat.permissions import Right, has_right, right_missing

if TYPE_CHECKING:
    from parley_server.chat.command import Command, Done
    from parley_server.chat.event import Role
    from parley_server.chat.owners import Owners
    from parley_server.ports.projections import ChannelRow, Projections


class ChannelAccess:
    """All raise Refusal; strangers get the one CHANNEL_NOT_FOUND."""

    def __init__(self, owners: Owners, projections: Projections) -> None:
        self._owners = owners
        self._projections = projections

    async def submit(self, channel_id: str, command: Command) -> Done:
        """Have the channel's owner decide the command. Returns once the outcome is durable."""
        if not channel_id:
            raise invalid_field("channel_id", "is required")
        return await self._owners.submit(channel_id, command)

    async def change(self, channel_id: str, command: Command) -> ChannelRow:
        """As `submit`. Returns the channel after it."""
        await self.submit(channel_id, command)
        return await self.channel(channel_id)

    async def channel(self, channel_id: str) -> ChannelRow:
        """The channel, whoever asks."""
        row = await self._projections.channel(channel_id)
        if row is None:
            raise channel_not_found()
        return row

    async def require_member(self, user_id: str, channel_id: str) -> Role:
        """The role of a present member."""
        if not channel_id:
            raise invalid_field("channel_id", "is required")
        member = await self._projections.member(channel_id, user_id)
        if member is None or member.role is None:
            raise channel_not_found()
        return member.role

    async def require_right(self, user_id: str, channel_id: str, right: Right) -> None:
        """Raises Refusal for who lacks a right that only groups know."""
        role = await self.require_member(user_id, channel_id)
        kind = (await self.channel(channel_id)).kind
        if kind is ChannelKind.DIRECT:
            raise direct_channel()
        if not has_right(kind, role, right):
            raise right_missing(right)
