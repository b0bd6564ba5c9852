"""What a channel's log is made of, as typed values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypedDict

from parley._channel_info import ChannelKind, HistoryVisibility, MemberChange, Role
from parley._message_state import MessageState, message_state_of
from parley._stored import Stored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parley.chat.v1 import event_pb2


class Receipt(Protocol):
    """By which the holder of an event acknowledges it."""

    def acknowledge(self) -> Stored:
        """The event is done with."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One durable fact in a channel.

    `seq` is its place in the channel's log (1, 2, 3 … without holes), `message_no` the number of messages
    up to and including it, `create_time_ms` when the server took it (milliseconds since 1970-01-01 UTC),
    `actor_id` the user who caused it, `client_message_id` the id that the sender's client gave, "" for
    events that carry none.
    """

    channel_id: str
    seq: int
    message_no: int
    create_time_ms: int
    actor_id: str
    client_message_id: str = ""
    _receipt: Receipt | None = field(default=None, repr=False, compare=False, hash=False)

    def ack(self) -> Stored:
        """Say that the program is done with the event: it does not come again, not after a restart either.

        The position goes to the state store in the background; `await event.ack()` returns when it is there.
        What counts per channel is the newest event before which everything was acknowledged. For events of
        history, and when called again, it does nothing.
        """
        return self._receipt.acknowledge() if self._receipt is not None else Stored()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEvent(Event):
    """Somebody wrote a message. `attributes` are small facts for applications.

    `mentions` are the ids of the users that it calls; with `mention_all` it calls everybody.
    `reply_to_seq` is the message that it answers, `thread_root_seq` the one in whose thread it stands; 0:
    none such.

    `state` says what became of it; None where nothing did, and on events delivered as they happen. With a
    state, text, attributes and mentions are the current ones, empty when it was deleted, and only events with
    a greater seq than `state.as_of_seq` change it further. `Timeline` does all that.
    """

    text: str
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    reply_to_seq: int = 0
    thread_root_seq: int = 0
    state: MessageState | None = None

    @property
    def edited(self) -> bool:
        """Whether the content is not the first one, as far as `state` says."""
        return self.state is not None and self.state.edited

    @property
    def deleted(self) -> bool:
        """Whether it is a tombstone, as far as `state` says."""
        return self.state is not None and self.state.deleted


Message = MessageEvent
"""A message is the event that carries it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditEvent(Event):
    """The author gave the message at `target_seq` this content in place of the one before.

    `superseded`: a later event replaced or deleted this content, which is therefore empty here.
    """

    target_seq: int
    text: str
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    superseded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteEvent(Event):
    """The message at `target_seq` became a tombstone."""

    target_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactionEvent(Event):
    """The actor put an emoji on the message at `target_seq` (`added`), or took it off.

    `count` users have it there after this event.
    """

    target_seq: int
    emoji: str
    added: bool
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PinEvent(Event):
    """The actor pinned the message at `target_seq`, which `author_id` wrote, or took its pin away."""

    target_seq: int
    pinned: bool
    author_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEvent(Event):
    """Somebody (`user_id`) became a member, got another role or ceased to be a member.

    `role` is the role after the change. `invite_id` names the invite by which the user joined, "" otherwise.
    """

    user_id: str
    change: MemberChange
    role: Role
    invite_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BanEvent(Event):
    """A user was banned, or the ban was lifted. A member who is banned is removed by the event after it."""

    user_id: str
    banned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteEvent(Event):
    """An invite was made, or `revoked`. It can be used until `expire_time_ms`, by `use_limit` users (0: any
    number). Its code cannot be told from `invite_id`.
    """

    invite_id: str
    revoked: bool
    expire_time_ms: int
    use_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorErasedEvent(Event):
    """The account of `user_id` was deleted: all that this user wrote up to here are tombstones."""

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEvent(Event):
    """The channel was made (`created`), or its settings changed. All settings are as they are after it.

    With `slow_mode_seconds`, a member may write once in so many seconds; 0: any time.
    """

    created: bool
    kind: ChannelKind
    title: str
    history_visibility: HistoryVisibility
    member_limit: int
    description: str = ""
    slow_mode_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDeletedEvent(Event):
    """The channel ended. It is the last event, and nothing before it can be read any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEvent(Event):
    """An event of a kind that this version does not know. `raw` is the `parley.chat.v1.Event` as it came."""

    raw: event_pb2.Event = field(repr=False, hash=False)


class _Common(TypedDict):
    channel_id: str
    seq: int
    message_no: int
    create_time_ms: int
    actor_id: str
    client_message_id: str
    _receipt: Receipt | None


def event_of(event: event_pb2.Event, receipt: Receipt | None = None) -> Event:
    """The typed event for one of the contract. Kinds that are not known become `UnknownEvent`."""
    common: _Common = {
        "channel_id": event.channel_id,
        "seq": event.seq,
        "message_no": event.message_no,
        "create_time_ms": event.create_time_ms,
        "actor_id": event.actor_id,
        "client_message_id": event.client_message_id,
        "_receipt": receipt,
    }
    match event.WhichOneof("kind"):
        case "message":
            return _message(event.message, common)
        case "message_edited":
            edit = event.message_edited
            return EditEvent(
                **common,
                target_seq=edit.target_seq,
                text=edit.text,
                attributes=dict(edit.attributes),
                mentions=tuple(edit.mentions),
                mention_all=edit.mention_all,
                superseded=edit.superseded,
            )
        case "message_deleted":
            return DeleteEvent(**common, target_seq=event.message_deleted.target_seq)
        case "reaction_changed":
            reaction = event.reaction_changed
            return ReactionEvent(
                **common,
                target_seq=reaction.target_seq,
                emoji=reaction.emoji,
                added=reaction.added,
                count=reaction.count,
            )
        case "pin_changed":
            pin = event.pin_changed
            return PinEvent(**common, target_seq=pin.target_seq, pinned=pin.pinned, author_id=pin.author_id)
        case _:
            return _event_of_the_channel(event, common)


def _event_of_the_channel(event: event_pb2.Event, common: _Common) -> Event:
    match event.WhichOneof("kind"):
        case "member_changed":
            member = event.member_changed
            return MemberEvent(
                **common,
                user_id=member.user_id,
                change=MemberChange(member.change),
                role=Role(member.role),
                invite_id=member.invite_id,
            )
        case "channel_changed":
            settings = event.channel_changed
            return ChannelEvent(
                **common,
                created=settings.created,
                kind=ChannelKind(settings.kind),
                title=settings.title,
                history_visibility=HistoryVisibility(settings.history_visibility),
                member_limit=settings.member_limit,
                description=settings.description,
                slow_mode_seconds=settings.slow_mode_seconds,
            )
        case "ban_changed":
            return BanEvent(**common, user_id=event.ban_changed.user_id, banned=event.ban_changed.banned)
        case "invite_changed":
            invite = event.invite_changed
            return InviteEvent(
                **common,
                invite_id=invite.invite_id,
                revoked=invite.revoked,
                expire_time_ms=invite.expire_time_ms,
                use_limit=invite.use_limit,
            )
        case "author_erased":
            return AuthorErasedEvent(**common, user_id=event.author_erased.user_id)
        case "channel_deleted":
            return ChannelDeletedEvent(**common)
        case _:
            return UnknownEvent(**common, raw=event)


def _message(message: event_pb2.Message, common: _Common) -> MessageEvent:
    return MessageEvent(
        **common,
        text=message.text,
        attributes=dict(message.attributes),
        mentions=tuple(message.mentions),
        mention_all=message.mention_all,
        reply_to_seq=message.reply_to_seq,
        thread_root_seq=message.thread_root_seq,
        state=message_state_of(message.state) if message.HasField("state") else None,
    )


def message_of(event: event_pb2.Event) -> MessageEvent:
    """The message that an event of a list of messages carries. Raises ValueError when it carries none."""
    message = event_of(event)
    if not isinstance(message, MessageEvent):
        raise ValueError(f"event {event.seq} of channel {event.channel_id} carries no message")
    return message
