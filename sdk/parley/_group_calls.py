"""What a channel's handle does to manage a group: settings, roles, bans, invites."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from parley._channel_info import ChannelInfo, HistoryVisibility, Role, channel_info_of
from parley._invite import Ban, Invite, ban_of, invite_of
from parley._uuid7 import new_id
from parley.channel.v1 import channel_pb2, channel_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley._directory import Directory
    from parley._link import Link
    from parley._user import User

_LARGEST_PAGE = 200


class GroupCalls:
    """Managing a group. Repeating any of these changes nothing more.

    All raise `RoleRequired` to a member without the role, and `DirectChannel` where there is nothing to
    manage. Users are given by profile, name or id, and `UserNotFound` is raised for one who does not exist.
    """

    id: str
    _link: Link
    _directory: Directory

    async def update(
        self,
        *,
        title: str | None = None,
        description: str | None = None,
        history_from_start: bool | None = None,
        slow_mode_seconds: int | None = None,
    ) -> ChannelInfo:
        """Change settings and return the channel after it. None leaves a setting. Needs the role admin.

        `title` has 1 to 128 code points, `description` at most 1,024. With `history_from_start` whoever joins
        from now on may read everything. `slow_mode_seconds` (0 to 86,400; 0 ends it): a member may write once
        in so many seconds. Raises `InvalidField`, also when nothing is given.
        """
        visibility = HistoryVisibility.FROM_START if history_from_start else HistoryVisibility.FROM_JOINING
        changes = {
            "title": title,
            "description": description,
            "history_visibility": history_from_start,
            "slow_mode_seconds": slow_mode_seconds,
        }
        request = channel_service_pb2.UpdateChannelRequest(
            channel_id=self.id,
            settings=channel_service_pb2.ChannelSettings(
                title=title or "",
                description=description or "",
                history_visibility=channel_pb2.HistoryVisibility.ValueType(visibility),
                slow_mode_seconds=slow_mode_seconds or 0,
            ),
            update_mask=FieldMask(paths=[name for name, value in changes.items() if value is not None]),
        )
        return channel_info_of((await self._link.call(self._link.channels.UpdateChannel, request)).channel)

    async def delete_channel(self) -> None:
        """End the group for everybody, for good. Nothing of it can be read any more. Needs the role owner."""
        request = channel_service_pb2.DeleteChannelRequest(channel_id=self.id)
        await self._link.call(self._link.channels.DeleteChannel, request)

    async def set_role(self, user: User | str, role: Role) -> ChannelInfo:
        """Give a member another role, and return the channel after it. Needs the role owner.

        Raises `LastOwner` when no owner would be left, `UserNotFound` for somebody who is not in the group.
        """
        request = channel_service_pb2.SetMemberRoleRequest(
            channel_id=self.id,
            user_id=await self._directory.user_id(user),
            role=channel_pb2.Role.ValueType(role),
        )
        return channel_info_of((await self._link.call(self._link.channels.SetMemberRole, request)).channel)

    async def ban(self, user: User | str) -> None:
        """Keep a user out of the group; a member is removed. Needs the role admin, and a higher one than the
        member's own. Raises `TooManyBans`.
        """
        request = channel_service_pb2.BanMemberRequest(
            channel_id=self.id, user_id=await self._directory.user_id(user)
        )
        await self._link.call(self._link.channels.BanMember, request)

    async def unban(self, user: User | str) -> None:
        """Lift a ban. The user is not a member by that. Needs the role admin."""
        request = channel_service_pb2.UnbanMemberRequest(
            channel_id=self.id, user_id=await self._directory.user_id(user)
        )
        await self._link.call(self._link.channels.UnbanMember, request)

    async def bans(self) -> AsyncIterator[Ban]:
        """The group's bans by user id. Needs the role admin."""
        request = channel_service_pb2.ListBansRequest(channel_id=self.id, page_size=_LARGEST_PAGE)
        async for ban in self._link.pages(self._link.channels.ListBans, request, lambda page: page.bans):
            yield ban_of(ban)

    async def create_invite(
        self,
        *,
        lifetime_seconds: int | None = None,
        uses: int = 0,
        client_invite_id: str | None = None,
    ) -> Invite:
        """Make an invite; its `code` lets users join (`Client.join`). Needs the role admin.

        It can be used for `lifetime_seconds` (None: 7 days; at most 366 days) by `uses` users (0: any
        number). The code is told only here. `client_invite_id` makes a repetition of this very call return
        the same invite. Raises `TooManyInvites`, `InvalidField`.
        """
        request = channel_service_pb2.CreateInviteRequest(
            channel_id=self.id,
            client_invite_id=client_invite_id or new_id(),
            lifetime=None if lifetime_seconds is None else Duration(seconds=lifetime_seconds),
            use_limit=uses,
        )
        response = await self._link.call(self._link.channels.CreateInvite, request)
        return invite_of(response.invite, response.code)

    async def invites(self) -> list[Invite]:
        """The invites that can be used now, at most 50, oldest first, without their codes. Needs the role
        admin.
        """
        request = channel_service_pb2.ListInvitesRequest(channel_id=self.id)
        response = await self._link.call(self._link.channels.ListInvites, request)
        return [invite_of(invite) for invite in response.invites]

    async def revoke_invite(self, invite: Invite | str) -> None:
        """Make an invite, given by itself or its id, useless. Needs the role admin."""
        request = channel_service_pb2.RevokeInviteRequest(
            channel_id=self.id, invite_id=invite.invite_id if isinstance(invite, Invite) else invite
        )
        await self._link.call(self._link.channels.RevokeInvite, request)
