"""Running a group: roles, bans, settings, invites, its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal, invalid_field, user_not_found
from parley_server.chat import client_id
from parley_server.chat.channel_access import ChannelAccess
from parley_server.chat.channels import check_title
from parley_server.chat.command import (
    CreateInvite,
    DeleteChannel,
    JoinByInvite,
    RevokeInvite,
    SetBan,
    SetMemberRole,
    UpdateChannel,
)
from parley_server.chat.invites import channel_of, invite_code, invite_id_of
from parley_server.chat.member_decisions import invite_not_found
from parley_server.chat.message_rules import digest_of
from parley_server.chat.permissions import Right
from parley_server.ports.projections import InviteRow

if TYPE_CHECKING:
    from parley_runtime.clock import Clock
    from parley_server.chat.channels import KnowsUsers
    from parley_server.chat.event import HistoryVisibility, Role
    from parley_server.chat.owners import Owners
    from parley_server.ports.projections import BanRow, ChannelRow, Projections

DESCRIPTION_LIMIT_CODE_POINTS = 1024
SLOW_MODE_LIMIT_SECONDS = 24 * 3600
INVITE_LIFETIME_SECONDS = 7 * 24 * 3600
INVITE_LIFETIME_LIMIT_SECONDS = 366 * 24 * 3600
INVITE_USES_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class NewInvite:
    """An invite and the code by which one joins."""

    row: InviteRow
    code: str


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """New settings of a channel; None leaves one as it is."""

    title: str | None = None
    description: str | None = None
    history_visibility: HistoryVisibility | None = None
    slow_mode_seconds: int | None = None


class Administration:
    """Calls of those who run a group. All raise Refusal; strangers get the one CHANNEL_NOT_FOUND.

    `invite_key` makes the codes of invites; another key makes those of before unknown to their makers, though
    they go on working.
    """

    def __init__(
        self,
        owners: Owners,
        projections: Projections,
        users: KnowsUsers,
        clock: Clock,
        *,
        invite_key: bytes,
    ) -> None:
        self._access = ChannelAccess(owners, projections)
        self._projections = projections
        self._users = users
        self._clock = clock
        self._invite_key = invite_key

    async def update(self, user_id: str, channel_id: str, change: SettingsChange) -> ChannelRow:
        """Change settings. Returns the channel after it."""
        if change.title is not None:
            check_title(change.title)
        if change.description is not None and len(change.description) > DESCRIPTION_LIMIT_CODE_POINTS:
            raise invalid_field(
                "description", f"must have at most {DESCRIPTION_LIMIT_CODE_POINTS} code points"
            )
        seconds = change.slow_mode_seconds
        if seconds is not None and not 0 <= seconds <= SLOW_MODE_LIMIT_SECONDS:
            raise invalid_field("slow_mode_seconds", f"must be 0 to {SLOW_MODE_LIMIT_SECONDS}")
        command = UpdateChannel(
            user_id, change.title, change.description, change.history_visibility, change.slow_mode_seconds
        )
        return await self._access.change(channel_id, command)

    async def delete(self, user_id: str, channel_id: str) -> None:
        """End the channel for everybody. Ending it again changes nothing for who was a member."""
        try:
            await self._access.submit(channel_id, DeleteChannel(user_id))
        except Refusal as refusal:
            row = await self._projections.channel(channel_id)
            ended = row is not None and row.deleted
            if not ended or await self._projections.member(channel_id, user_id) is None:
                raise refusal from None

    async def set_role(self, user_id: str, channel_id: str, member_id: str, role: Role) -> ChannelRow:
        """Give a member a role. Returns the channel after it."""
        if not member_id:
            raise invalid_field("user_id", "is required")
        return await self._access.change(channel_id, SetMemberRole(user_id, member_id, role))

    async def ban(self, user_id: str, channel_id: str, banned_id: str) -> None:
        """Ban a user, who need not be a member."""
        if not banned_id:
            raise invalid_field("user_id", "is required")
        await self._access.require_member(user_id, channel_id)
        if not await self._users.existing([banned_id]):
            raise user_not_found()
        await self._access.submit(channel_id, SetBan(user_id, banned_id, banned=True))

    async def unban(self, user_id: str, channel_id: str, banned_id: str) -> None:
        """Lift a ban; none to lift is fine."""
        if not banned_id:
            raise invalid_field("user_id", "is required")
        await self._access.submit(channel_id, SetBan(user_id, banned_id, banned=False))

    async def bans(
        self, user_id: str, channel_id: str, *, after_user_id: str, limit: int
    ) -> tuple[BanRow, ...]:
        """The bans that hold, by user id, for those who may ban."""
        await self._access.require_right(user_id, channel_id, Right.BAN)
        return await self._projections.bans(channel_id, after_user_id=after_user_id, limit=limit)

    async def create_invite(
        self, user_id: str, channel_id: str, client_invite_id: str, lifetime_seconds: int, use_limit: int
    ) -> NewInvite:
        """Make an invite. The same client id yields the same invite."""
        now_ms = self._clock.now_ms()
        refusal = client_id.check("client_invite_id", client_invite_id, now_ms)
        if refusal is not None:
            raise refusal
        if not 0 <= lifetime_seconds <= INVITE_LIFETIME_LIMIT_SECONDS:
            raise invalid_field("lifetime_seconds", f"must be 0 to {INVITE_LIFETIME_LIMIT_SECONDS}")
        if not 0 <= use_limit <= INVITE_USES_LIMIT:
            raise invalid_field("use_limit", f"must be 0 to {INVITE_USES_LIMIT}")
        code = invite_code(self._invite_key, channel_id, user_id, client_invite_id)
        invite_id = invite_id_of(code)
        # From the id's own time and not from now, so that a repeat asks for the same.
        expire_time_ms = client_id.time_of(client_invite_id) + 1000 * (
            lifetime_seconds or INVITE_LIFETIME_SECONDS
        )
        command = CreateInvite(
            user_id,
            client_invite_id,
            digest_of("invite", str(lifetime_seconds), str(use_limit)),
            invite_id,
            expire_time_ms,
            use_limit,
        )
        done = await self._access.submit(channel_id, command)
        for row in await self._projections.invites(channel_id):
            if row.invite_id == invite_id:
                return NewInvite(row, code)
        if done.duplicate:
            raise invite_not_found()
        row = InviteRow(invite_id, user_id, done.create_time_ms, expire_time_ms, use_limit, 0)
        return NewInvite(row, code)

    async def invites(self, user_id: str, channel_id: str) -> tuple[InviteRow, ...]:
        """The open invites, for those who may make them."""
        await self._access.require_right(user_id, channel_id, Right.MANAGE_INVITES)
        now_ms = self._clock.now_ms()
        return tuple(
            row for row in await self._projections.invites(channel_id) if now_ms < row.expire_time_ms
        )

    async def revoke_invite(self, user_id: str, channel_id: str, invite_id: str) -> None:
        """Make an invite useless."""
        if not invite_id:
            raise invalid_field("invite_id", "is required")
        await self._access.submit(channel_id, RevokeInvite(user_id, invite_id))

    async def join(self, user_id: str, code: str) -> ChannelRow:
        """Make the user a member by a code. Returns the channel after it."""
        channel_id = channel_of(code)
        if not channel_id or await self._projections.channel(channel_id) is None:
            raise invite_not_found()
        try:
            await self._access.submit(channel_id, JoinByInvite(user_id, invite_id_of(code)))
        except Refusal as refusal:
            # A channel that ended looks like an invite that nobody made.
            raise invite_not_found() if refusal.reason is Reason.CHANNEL_NOT_FOUND else refusal from None
        return await self._access.channel(channel_id)
