"""Rows of the stores as messages of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley.channel.v1 import channel_pb2, channel_service_pb2

if TYPE_CHECKING:
    from parley_server.ports.positions import ReadMark
    from parley_server.ports.projections import BanRow, ChannelRow, InboxRow, InviteRow, MemberRow


def channel_message(row: ChannelRow) -> channel_pb2.Channel:
    """The channel as clients see it."""
    message = channel_pb2.Channel(
        channel_id=row.channel_id,
        kind=row.kind.value,  # type: ignore[arg-type]
        title=row.title,
        history_visibility=row.history_visibility.value,  # type: ignore[arg-type]
        creator_id=row.creator_id,
        member_count=row.member_count,
        member_limit=row.member_limit,
        head_seq=row.watermark,
        head_message_no=row.message_no,
        description=row.description,
        slow_mode_seconds=row.slow_mode_seconds,
    )
    message.create_time.FromMilliseconds(row.create_time_ms)
    return message


def member_message(row: MemberRow, read: ReadMark) -> channel_pb2.Member:
    """A present member as clients see it."""
    return channel_pb2.Member(
        user_id=row.user_id,
        role=row.role.value if row.role else 0,  # type: ignore[arg-type]
        joined_seq=row.joined_seq,
        read_seq=read.seq,
    )


def invite_message(row: InviteRow) -> channel_service_pb2.Invite:
    """An invite, without its code."""
    message = channel_service_pb2.Invite(
        invite_id=row.invite_id, creator_id=row.creator_id, use_limit=row.use_limit, uses=row.uses
    )
    message.create_time.FromMilliseconds(row.create_time_ms)
    message.expire_time.FromMilliseconds(row.expire_time_ms)
    return message


def ban_message(row: BanRow) -> channel_service_pb2.Ban:
    """A ban that holds."""
    message = channel_service_pb2.Ban(user_id=row.user_id, actor_id=row.actor_id)
    message.create_time.FromMilliseconds(row.create_time_ms)
    return message


def unread_count(row: InboxRow, read: ReadMark) -> int:
    """Messages after the read position that the member may see."""
    return max(0, row.channel.message_no - max(read.message_no, row.member.joined_message_no))
