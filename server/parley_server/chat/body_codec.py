"""What happened in an event, to and from the contract's `oneof kind`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.chat.event import (
    AuthorErased,
    BanChanged,
    ChannelChanged,
    ChannelDeleted,
    ChannelKind,
    EventBody,
    HistoryVisibility,
    InviteChanged,
    MemberChange,
    MemberChanged,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PinChanged,
    ReactionChanged,
    Role,
)

if TYPE_CHECKING:
    from parley.chat.v1 import event_pb2


def set_body(message: event_pb2.Event, body: EventBody) -> None:
    """Set the kind of `message`."""
    match body:
        case MessagePosted():
            posted = message.message
            posted.text = body.text
            if body.attributes:
                posted.attributes.update(body.attributes)
            if body.mentions:
                posted.mentions.extend(body.mentions)
            posted.mention_all = body.mention_all
            posted.reply_to_seq = body.reply_to_seq
            posted.thread_root_seq = body.thread_root_seq
        case MessageEdited():
            edited = message.message_edited
            edited.target_seq = body.target_seq
            edited.text = body.text
            edited.attributes.update(body.attributes)
            edited.mentions.extend(body.mentions)
            edited.mention_all = body.mention_all
        case MessageDeleted():
            message.message_deleted.target_seq = body.target_seq
        case ReactionChanged():
            reaction = message.reaction_changed
            reaction.target_seq = body.target_seq
            reaction.emoji = body.emoji
            reaction.added = body.added
            reaction.count = body.count
        case PinChanged():
            message.pin_changed.target_seq = body.target_seq
            message.pin_changed.pinned = body.pinned
            message.pin_changed.author_id = body.author_id
        case _:
            _set_administration(message, body)


def _set_administration(message: event_pb2.Event, body: EventBody) -> None:
    match body:
        case MemberChanged():
            member = message.member_changed
            member.user_id = body.user_id
            member.change = body.change.value  # type: ignore[assignment]
            member.role = body.role.value if body.role else 0  # type: ignore[assignment]
            member.invite_id = body.invite_id
        case ChannelChanged():
            settings = message.channel_changed
            settings.created = body.created
            settings.kind = body.kind.value  # type: ignore[assignment]
            settings.title = body.title
            settings.history_visibility = body.history_visibility.value  # type: ignore[assignment]
            settings.member_limit = body.member_limit
            settings.description = body.description
            settings.slow_mode_seconds = body.slow_mode_seconds
        case BanChanged():
            message.ban_changed.user_id = body.user_id
            message.ban_changed.banned = body.banned
        case InviteChanged():
            invite = message.invite_changed
            invite.invite_id = body.invite_id
            invite.revoked = body.revoked
            invite.expire_time_ms = body.expire_time_ms
            invite.use_limit = body.use_limit
        case AuthorErased():
            message.author_erased.user_id = body.user_id
        case ChannelDeleted():
            message.channel_deleted.SetInParent()


def body_of(message: event_pb2.Event) -> EventBody:
    """What `message` says. Raises ValueError for a kind that this version does not know."""
    match message.WhichOneof("kind"):
        case "message":
            posted = message.message
            return MessagePosted(
                posted.text,
                tuple(sorted(posted.attributes.items())),
                tuple(posted.mentions),
                posted.mention_all,
                posted.reply_to_seq,
                posted.thread_root_seq,
            )
        case "message_edited":
            edited = message.message_edited
            return MessageEdited(
                edited.target_seq,
                edited.text,
                tuple(sorted(edited.attributes.items())),
                tuple(edited.mentions),
                edited.mention_all,
            )
        case "message_deleted":
            return MessageDeleted(message.message_deleted.target_seq)
        case "reaction_changed":
            reaction = message.reaction_changed
            return ReactionChanged(reaction.target_seq, reaction.emoji, reaction.added, reaction.count)
        case "pin_changed":
            pin = message.pin_changed
            return PinChanged(pin.target_seq, pin.pinned, pin.author_id)
        case _:
            return _administration_of(message)


def _administration_of(message: event_pb2.Event) -> EventBody:
    match message.WhichOneof("kind"):
        case "member_changed":
            member = message.member_changed
            return MemberChanged(
                member.user_id,
                MemberChange(member.change),
                Role(member.role) if member.role else None,
                member.invite_id,
            )
        case "channel_changed":
            settings = message.channel_changed
            return ChannelChanged(
                created=settings.created,
                kind=ChannelKind(settings.kind),
                title=settings.title,
                history_visibility=HistoryVisibility(settings.history_visibility),
                member_limit=settings.member_limit,
                description=settings.description,
                slow_mode_seconds=settings.slow_mode_seconds,
            )
        case "ban_changed":
            return BanChanged(message.ban_changed.user_id, message.ban_changed.banned)
        case "invite_changed":
            invite = message.invite_changed
            return InviteChanged(invite.invite_id, invite.revoked, invite.expire_time_ms, invite.use_limit)
        case "author_erased":
            return AuthorErased(message.author_erased.user_id)
        case "channel_deleted":
            return ChannelDeleted()
        case _:
            raise ValueError(
                f"event {message.seq} of {message.channel_id} has no kind that this version knows"
            )
