"""Who may call ChannelService: the table is held to the descriptors."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from parley.channel.v1 import channel_pb2
from parley.channel.v1 import channel_service_pb2 as channels
from parley_server.testing.access_suite import ChannelAccessSuite
from parley_server.testing.access_table import (
    ADMINS,
    BLOCKED,
    MEMBERS,
    NO_INVITE,
    OUTSIDE,
    OWNERS,
    USERS,
    Role,
    Row,
)
from parley_server.testing.raw_client import uuid7

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLE: dict[str, Row] = {
    "parley.channel.v1.ChannelService.CreateDirectChannel": Row(
        USERS | {Role.BLOCKED: BLOCKED},
        lambda scene, role: channels.CreateDirectChannelRequest(user_id=scene.other.user_id),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.CreateChannel": Row(
        USERS | {Role.BLOCKED: BLOCKED},
        lambda scene, role: channels.CreateChannelRequest(
            title="new", member_ids=[scene.other.user_id], client_channel_id=uuid7()
        ),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.GetChannel": Row(
        MEMBERS, lambda scene, role: channels.GetChannelRequest(channel_id=scene.channel_id)
    ),
    "parley.channel.v1.ChannelService.ListChannels": Row(
        USERS, lambda scene, role: channels.ListChannelsRequest()
    ),
    "parley.channel.v1.ChannelService.AddMembers": Row(
        ADMINS,
        lambda scene, role: channels.AddMembersRequest(
            channel_id=scene.channel_id, user_ids=[scene.people[Role.STRANGER].user_id]
        ),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.RemoveMember": Row(
        ADMINS,
        lambda scene, role: channels.RemoveMemberRequest(
            channel_id=scene.channel_id, user_id=scene.other.user_id
        ),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.LeaveChannel": Row(
        MEMBERS | {Role.OWNER: ("FAILED_PRECONDITION", "LAST_OWNER")},
        lambda scene, role: channels.LeaveChannelRequest(channel_id=scene.channel_id),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.UpdateChannel": Row(
        ADMINS,
        lambda scene, role: channels.UpdateChannelRequest(
            channel_id=scene.channel_id,
            settings=channels.ChannelSettings(title="other"),
            update_mask=FieldMask(paths=["title"]),
        ),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.DeleteChannel": Row(
        OWNERS,
        lambda scene, role: channels.DeleteChannelRequest(channel_id=scene.channel_id),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.SetMemberRole": Row(
        OWNERS,
        lambda scene, role: channels.SetMemberRoleRequest(
            channel_id=scene.channel_id, user_id=scene.other.user_id, role=channel_pb2.ROLE_ADMIN
        ),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.BanMember": Row(
        ADMINS,
        lambda scene, role: channels.BanMemberRequest(
            channel_id=scene.channel_id, user_id=scene.other.user_id
        ),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.UnbanMember": Row(
        ADMINS,
        lambda scene, role: channels.UnbanMemberRequest(
            channel_id=scene.channel_id, user_id=scene.other.user_id
        ),
    ),
    "parley.channel.v1.ChannelService.ListBans": Row(
        ADMINS, lambda scene, role: channels.ListBansRequest(channel_id=scene.channel_id)
    ),
    "parley.channel.v1.ChannelService.CreateInvite": Row(
        ADMINS,
        lambda scene, role: channels.CreateInviteRequest(
            channel_id=scene.channel_id, client_invite_id=uuid7()
        ),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.ListInvites": Row(
        ADMINS, lambda scene, role: channels.ListInvitesRequest(channel_id=scene.channel_id)
    ),
    "parley.channel.v1.ChannelService.RevokeInvite": Row(
        ADMINS,
        lambda scene, role: channels.RevokeInviteRequest(channel_id=scene.channel_id, invite_id="none"),
    ),
    "parley.channel.v1.ChannelService.JoinChannel": Row(
        # With a code that nobody made: members are in the channel whatever the code says.
        USERS | dict.fromkeys(OUTSIDE, NO_INVITE),
        lambda scene, role: channels.JoinChannelRequest(code=f"{scene.channel_id}.AAAAAAAAAAAAAAAAAAAAAA"),
    ),
    "parley.channel.v1.ChannelService.SetMute": Row(
        MEMBERS,
        lambda scene, role: channels.SetMuteRequest(
            channel_id=scene.channel_id, mute_until=Timestamp(seconds=253_402_300_799)
        ),
        changes=True,
    ),
    "parley.channel.v1.ChannelService.ListMembers": Row(
        MEMBERS, lambda scene, role: channels.ListMembersRequest(channel_id=scene.channel_id)
    ),
}


class TestChannelAccess(ChannelAccessSuite):
    """Planted: the row of SetMute left out. Planted: GetChannel without its membership check; found by the
    stranger. Planted: a BanMember open to members; found by the member.
    """

    service = "parley.channel.v1.ChannelService"
    table = TABLE
