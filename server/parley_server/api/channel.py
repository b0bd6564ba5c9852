"""ChannelService: converts, calls `chat.channels`, converts back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parley.channel.v1 import channel_pb2, channel_service_pb2, channel_service_pb2_grpc
from parley_runtime.refusal import invalid_field
from parley_server.api import convert
from parley_server.api.call_context import current_caller
from parley_server.api.paging import page_size_of, page_token_for, place_of
from parley_server.chat.event import HistoryVisibility
from parley_server.ports.positions import NOTHING_READ, Positions

if TYPE_CHECKING:
    import grpc.aio

    from parley_server.chat.channels import Channels
    from parley_server.ports.projections import Projections


_VISIBILITIES = {
    channel_pb2.HISTORY_VISIBILITY_UNSPECIFIED: HistoryVisibility.FROM_JOINING,
    channel_pb2.HISTORY_VISIBILITY_FROM_JOINING: HistoryVisibility.FROM_JOINING,
    channel_pb2.HISTORY_VISIBILITY_FROM_START: HistoryVisibility.FROM_START,
}


class ChannelServicer(channel_service_pb2_grpc.ChannelServiceServicer):
    """Serves parley.channel.v1.ChannelService. Methods raise Refusal."""

    def __init__(self, channels: Channels, projections: Projections, positions: Positions) -> None:
        self._channels = channels
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
        return channel_service_pb2.GetChannelResponse(channel=convert.channel_message(row))

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
