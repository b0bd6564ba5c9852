"""ChannelService: converts, calls `chat.channels`, converts back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parley.channel.v1 import channel_pb2, channel_service_pb2, channel_service_pb2_grpc
from parley_runtime.refusal import invalid_field
from parley_server.api import convert
from parley_server.api.call_context import current_caller
from parley_server.api.paging import page_size_of, page_token_for, place_of
from parley_server.chat.administration import SettingsChange
from parley_server.chat.event import HistoryVisibility, Role
from parley_server.ports.positions import NOTHING_READ, Positions

if TYPE_CHECKING:
    import grpc.aio

    from parley_server.api.mutes import Mutes
    from parley_server.chat.administration import Administration
    from parley_server.chat.channels import Channels
    from parley_server.ports.projections import ChannelRow, Projections


_ROLES = {
    channel_pb2.ROLE_MEMBER: Role.MEMBER,
    channel_pb2.ROLE_ADMIN: Role.ADMIN,
    channel_pb2.ROLE_OWNER: Role.OWNER,
}
_SETTINGS = frozenset({"title", "description", "history_visibility", "slow_mode_seconds"})
_VISIBILITIES = {
    channel_pb2.HISTORY_VISIBILITY_UNSPECIFIED: HistoryVisibility.FROM_JOINING,
    channel_pb2.HISTORY_VISIBILITY_FROM_JOINING: HistoryVisibility.FROM_JOINING,
    channel_pb2.HISTORY_VISIBILITY_FROM_START: HistoryVisibility.FROM_START,
}


class ChannelServicer(channel_service_pb2_grpc.ChannelServiceServicer):
    """Serves parley.channel.v1.ChannelService. Methods raise Refusal."""

    def __init__(
        self,
        channels: Channels,
        administration: Administration,
        projections: Projections,
        positions: Positions,
        mutes: Mutes,
    ) -> None:
        self._channels = channels
        self._mutes = mutes
        self._administration = administration
        self._projections = projections
        self._positions = positions

    async def CreateDirectChannel(
        self,
        request: channel_service_pb2.CreateDirectChannelRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> channel_service_pb2.CreateDirectChannelResponse:
        row, created = await self._channels.create_direct(current_caller().user_id, request.user_id)
        return channel_service_pb2.CreateDirectChannelResponse(
            channel=convert.channel_message(row), created=created
        )

    async def CreateChannel(
        self, request: channel_service_pb2.CreateChannelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.CreateChannelResponse:
        visibility = _VISIBILITIES.get(request.history_visibility)
        if visibility is None:
            raise invalid_field("history_visibility", "is not a value that this server knows")
        caller = current_caller()
        row, duplicate = await self._channels.create_group(
            caller.user_id,
            request.client_channel_id,
            request.title,
            request.member_ids,
            visibility,
            operator=caller.operator,
        )
        return channel_service_pb2.CreateChannelResponse(
            channel=convert.channel_message(row), duplicate=duplicate
        )

    async def GetChannel(
        self, request: channel_service_pb2.GetChannelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.GetChannelResponse:
        row = await self._channels.get(current_caller().user_id, request.channel_id)
        return channel_service_pb2.GetChannelResponse(channel=await self._with_pins(row))

    async def ListChannels(
        self, request: channel_service_pb2.ListChannelsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.ListChannelsResponse:
        limit = page_size_of(request.page_size)
        place = place_of(request.page_token, str)
        after = str(place[0]) if place else ""
        rows = await self._projections.channels_of(
            current_caller().user_id, after_channel_id=after, limit=limit + 1
        )
        page, more = rows[:limit], len(rows) > limit
        return channel_service_pb2.ListChannelsResponse(
            channels=[convert.channel_message(row.channel) for row in page],
            next_page_token=page_token_for(page[-1].channel.channel_id) if more else "",
        )

    async def AddMembers(
        self, request: channel_service_pb2.AddMembersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.AddMembersResponse:
        row = await self._channels.add_members(current_caller().user_id, request.channel_id, request.user_ids)
        return channel_service_pb2.AddMembersResponse(channel=convert.channel_message(row))

    async def RemoveMember(
        self, request: channel_service_pb2.RemoveMemberRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.RemoveMemberResponse:
        row = await self._channels.remove_member(
            current_caller().user_id, request.channel_id, request.user_id
        )
        return channel_service_pb2.RemoveMemberResponse(channel=convert.channel_message(row))

    async def LeaveChannel(
        self, request: channel_service_pb2.LeaveChannelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.LeaveChannelResponse:
        await self._channels.leave(current_caller().user_id, request.channel_id)
        return channel_service_pb2.LeaveChannelResponse()

    async def ListMembers(
        self, request: channel_service_pb2.ListMembersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.ListMembersResponse:
        limit = page_size_of(request.page_size)
        place = place_of(request.page_token, str)
        await self._channels.get(current_caller().user_id, request.channel_id)
        rows = await self._projections.members(
            request.channel_id, after_user_id=str(place[0]) if place else "", limit=limit + 1
        )
        page, more = rows[:limit], len(rows) > limit
        marks = await self._positions.readers(request.channel_id, [row.user_id for row in page])
        return channel_service_pb2.ListMembersResponse(
            members=[convert.member_message(row, marks.get(row.user_id, NOTHING_READ)) for row in page],
            next_page_token=page_token_for(page[-1].user_id) if more else "",
        )

    async def UpdateChannel(
        self, request: channel_service_pb2.UpdateChannelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.UpdateChannelResponse:
        row = await self._administration.update(
            current_caller().user_id, request.channel_id, _settings_change(request)
        )
        return channel_service_pb2.UpdateChannelResponse(channel=await self._with_pins(row))

    async def DeleteChannel(
        self, request: channel_service_pb2.DeleteChannelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.DeleteChannelResponse:
        await self._administration.delete(current_caller().user_id, request.channel_id)
        return channel_service_pb2.DeleteChannelResponse()

    async def SetMemberRole(
        self, request: channel_service_pb2.SetMemberRoleRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.SetMemberRoleResponse:
        role = _ROLES.get(request.role)
        if role is None:
            raise invalid_field("role", "must be ROLE_MEMBER, ROLE_ADMIN or ROLE_OWNER")
        row = await self._administration.set_role(
            current_caller().user_id, request.channel_id, request.user_id, role
        )
        return channel_service_pb2.SetMemberRoleResponse(channel=convert.channel_message(row))

    async def BanMember(
        self, request: channel_service_pb2.BanMemberRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.BanMemberResponse:
        await self._administration.ban(current_caller().user_id, request.channel_id, request.user_id)
        return channel_service_pb2.BanMemberResponse()

    async def UnbanMember(
        self, request: channel_service_pb2.UnbanMemberRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.UnbanMemberResponse:
        await self._administration.unban(current_caller().user_id, request.channel_id, request.user_id)
        return channel_service_pb2.UnbanMemberResponse()

    async def ListBans(
        self, request: channel_service_pb2.ListBansRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.ListBansResponse:
        limit = page_size_of(request.page_size)
        place = place_of(request.page_token, str)
        rows = await self._administration.bans(
            current_caller().user_id,
            request.channel_id,
            after_user_id=str(place[0]) if place else "",
            limit=limit + 1,
        )
        page, more = rows[:limit], len(rows) > limit
        return channel_service_pb2.ListBansResponse(
            bans=[convert.ban_message(row) for row in page],
            next_page_token=page_token_for(page[-1].user_id) if more else "",
        )

    async def CreateInvite(
        self, request: channel_service_pb2.CreateInviteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.CreateInviteResponse:
        if request.HasField("lifetime") and (request.lifetime.seconds <= 0 or request.lifetime.nanos):
            raise invalid_field("lifetime", "must be a whole number of seconds greater than 0, or unset")
        made = await self._administration.create_invite(
            current_caller().user_id,
            request.channel_id,
            request.client_invite_id,
            request.lifetime.seconds,
            request.use_limit,
        )
        return channel_service_pb2.CreateInviteResponse(
            invite=convert.invite_message(made.row), code=made.code
        )

    async def ListInvites(
        self, request: channel_service_pb2.ListInvitesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.ListInvitesResponse:
        rows = await self._administration.invites(current_caller().user_id, request.channel_id)
        return channel_service_pb2.ListInvitesResponse(invites=[convert.invite_message(row) for row in rows])

    async def RevokeInvite(
        self, request: channel_service_pb2.RevokeInviteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.RevokeInviteResponse:
        await self._administration.revoke_invite(
            current_caller().user_id, request.channel_id, request.invite_id
        )
        return channel_service_pb2.RevokeInviteResponse()

    async def JoinChannel(
        self, request: channel_service_pb2.JoinChannelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.JoinChannelResponse:
        if not request.code:
            raise invalid_field("code", "is required")
        row = await self._administration.join(current_caller().user_id, request.code)
        return channel_service_pb2.JoinChannelResponse(channel=convert.channel_message(row))

    async def SetMute(
        self, request: channel_service_pb2.SetMuteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> channel_service_pb2.SetMuteResponse:
        user_id = current_caller().user_id
        await self._channels.get(user_id, request.channel_id)
        await self._mutes.set(user_id, request.channel_id, 1000 * request.mute_until.seconds)
        return channel_service_pb2.SetMuteResponse()

    async def _with_pins(self, row: ChannelRow) -> channel_pb2.Channel:
        message = convert.channel_message(row)
        message.pinned_seqs.extend(seq for seq, _ in await self._projections.pins(row.channel_id))
        return message


def _settings_change(request: channel_service_pb2.UpdateChannelRequest) -> SettingsChange:
    paths = set(request.update_mask.paths)
    if not paths or not paths <= _SETTINGS:
        raise invalid_field("update_mask", f"must name one or more of {', '.join(sorted(_SETTINGS))}")
    settings = request.settings
    visibility = None
    if "history_visibility" in paths:
        visibility = _VISIBILITIES.get(settings.history_visibility)
        if visibility is None:
            raise invalid_field("settings.history_visibility", "is not a value that this server knows")
    return SettingsChange(
        title=settings.title if "title" in paths else None,
        description=settings.description if "description" in paths else None,
        history_visibility=visibility,
        slow_mode_seconds=settings.slow_mode_seconds if "slow_mode_seconds" in paths else None,
    )
