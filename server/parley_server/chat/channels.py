"""Making channels and changing who is in them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from parley_runtime.refusal import Reason, Refusal, invalid_field, user_not_found
from parley_server.chat import client_id
from parley_server.chat.channel_access import ChannelAccess
from parley_server.chat.command import (
    AddMembers,
    CreateChannel,
    LeaveChannel,
    RemoveMember,
)
from parley_server.chat.event import ChannelKind, HistoryVisibility
from parley_server.chat.message_rules import digest_of, is_visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_runtime.clock import Clock
    from parley_server.chat.direct_blocks import KnowsBlocks
    from parley_server.chat.owners import Owners
    from parley_server.ports.projections import ChannelRow, Projections

TITLE_LIMIT_CODE_POINTS = 128
USERS_PER_CALL = 100
FIRST_MEMBERS_LIMIT = 200


class KnowsUsers(Protocol):
    """Says which users exist."""

    async def existing(self, user_ids: Sequence[str]) -> set[str]:
        """Those of the ids that belong to somebody."""
        ...


def direct_channel_id(one: str, other: str) -> str:
    """The id of the one direct channel of a pair, whoever makes it."""
    return "d" + hashlib.sha256("\0".join(sorted((one, other))).encode()).hexdigest()[:40]


def group_channel_id(creator_id: str, client_channel_id: str) -> str:
    """The id of the group that this creator makes with this client id, however often it is tried."""
    return "g" + hashlib.sha256(f"{creator_id}\0{client_channel_id}".encode()).hexdigest()[:40]


def check_title(title: str) -> None:
    """Raises Refusal when a channel may not be called so."""
    if not 0 < len(title) <= TITLE_LIMIT_CODE_POINTS or not any(map(is_visible, title)):
        raise invalid_field(
            "title", f"must have 1 to {TITLE_LIMIT_CODE_POINTS} code points, one of them visible"
        )


class Channels:
    """Channel calls of authenticated users. All raise Refusal; strangers get the one CHANNEL_NOT_FOUND."""

    def __init__(
        self,
        owners: Owners,
        projections: Projections,
        users: KnowsUsers,
        blocks: KnowsBlocks,
        clock: Clock,
        *,
        group_members_limit: int,
        channel_members_limit: int,
    ) -> None:
        self._owners = owners
        self._access = ChannelAccess(owners, projections)
        self._projections = projections
        self._users = users
        self._blocks = blocks
        self._clock = clock
        self._group_members_limit = group_members_limit
        self._channel_members_limit = channel_members_limit

    async def create_direct(self, user_id: str, other_id: str) -> tuple[ChannelRow, bool]:
        """The direct channel of the pair, and whether this call made it."""
        if not other_id:
            raise invalid_field("user_id", "is required")
        if other_id == user_id:
            raise Refusal(
                Reason.SELF_CHANNEL, "A direct channel needs another user. Give somebody else's id."
            )
        if not await self._users.existing([other_id]):
            raise user_not_found()
        if (refusal := await self._blocks.refusal_between(user_id, other_id)) is not None:
            raise refusal
        channel_id = direct_channel_id(user_id, other_id)
        command = CreateChannel(
            actor_id=user_id,
            kind=ChannelKind.DIRECT,
            title="",
            member_ids=(user_id, other_id),
            history_visibility=HistoryVisibility.FROM_START,
            member_limit=2,
            client_channel_id="",
            digest=b"",
        )
        done = await self._owners.submit(channel_id, command)
        return await self._access.channel(channel_id), not done.duplicate

    async def create_group(
        self,
        user_id: str,
        client_channel_id: str,
        title: str,
        member_ids: Sequence[str],
        visibility: HistoryVisibility,
        *,
        operator: bool,
    ) -> tuple[ChannelRow, bool]:
        """The group of this client id, and whether an earlier call had made it."""
        refusal = client_id.check("client_channel_id", client_channel_id, self._clock.now_ms())
        if refusal is not None:
            raise refusal
        check_title(title)
        members = tuple(dict.fromkeys((user_id, *member_ids)))
        if len(members) > FIRST_MEMBERS_LIMIT and operator:
            raise invalid_field(
                "member_ids", f"may name {FIRST_MEMBERS_LIMIT - 1} users; add more by AddMembers"
            )
        limit = self._channel_members_limit if operator else self._group_members_limit
        if len(members) <= limit:
            await self._require_users(user_id, members[1:])
        command = CreateChannel(
            actor_id=user_id,
            kind=ChannelKind.GROUP,
            title=title,
            member_ids=members,
            history_visibility=visibility,
            member_limit=limit,
            client_channel_id=client_channel_id,
            digest=digest_of(title, visibility.name, *sorted(members)),
        )
        channel_id = group_channel_id(user_id, client_channel_id)
        done = await self._owners.submit(channel_id, command)
        return await self._access.channel(channel_id), done.duplicate

    async def get(self, user_id: str, channel_id: str) -> ChannelRow:
        """One of the user's channels."""
        await self._access.require_member(user_id, channel_id)
        return await self._access.channel(channel_id)

    async def add_members(self, user_id: str, channel_id: str, user_ids: Sequence[str]) -> ChannelRow:
        """Add users, all or none. Returns the channel after it."""
        if not 0 < len(user_ids) <= USERS_PER_CALL:
            raise invalid_field("user_ids", f"must name 1 to {USERS_PER_CALL} users")
        await self._access.require_member(user_id, channel_id)
        await self._require_users(user_id, user_ids)
        return await self._access.change(channel_id, AddMembers(user_id, tuple(user_ids)))

    async def remove_member(self, user_id: str, channel_id: str, member_id: str) -> ChannelRow:
        """Remove one member. Returns the channel after it."""
        if not member_id:
            raise invalid_field("user_id", "is required")
        return await self._access.change(channel_id, RemoveMember(user_id, member_id))

    async def leave(self, user_id: str, channel_id: str) -> None:
        """Take the user out; a former member is out already."""
        try:
            await self._access.submit(channel_id, LeaveChannel(user_id))
        except Refusal as refusal:
            if refusal.reason is not Reason.CHANNEL_NOT_FOUND:
                raise
            if await self._projections.member(channel_id, user_id) is None:
                raise

    async def _require_users(self, user_id: str, others: Sequence[str]) -> None:
        if others and len(await self._users.existing(others)) < len(set(others)):
            raise user_not_found()
        if others and await self._blocks.blockers_among(user_id, others):
            raise Refusal(
                Reason.BLOCKED, "You blocked one of these users, or one of them blocked you. Leave them out."
            )
