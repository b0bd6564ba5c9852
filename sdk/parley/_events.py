"""What a channel's log is made of, as typed values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypedDict

from parley._channel_info import ChannelKind, HistoryVisibility, MemberChange, Role
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
    """Somebody wrote a message. `attributes` are small facts for applications."""

    text: str
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)


Message = MessageEvent
"""A message is the event that carries it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEvent(Event):
    """Somebody (`user_id`) became a member or ceased to be one. `role` is the role after the change."""

    user_id: str
    change: MemberChange
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEvent(Event):
    """The channel was made (`created`), or its settings changed. All settings are as they are after it."""

    created: bool
    kind: ChannelKind
    title: str
    history_visibility: HistoryVisibility
    member_limit: int


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
    kind = event.WhichOneof("kind")
    common: _Common = {
        "channel_id": event.channel_id,
        "seq": event.seq,
        "message_no": event.message_no,
        "create_time_ms": event.create_time_ms,
        "actor_id": event.actor_id,
        "client_message_id": event.client_message_id,
        "_receipt": receipt,
    }
    if kind == "message":
        return MessageEvent(**common, text=event.message.text, attributes=dict(event.message.attributes))
    if kind == "member_changed":
        return MemberEvent(
            **common,
            user_id=event.member_changed.user_id,
            change=MemberChange(event.member_changed.change),
            role=Role(event.member_changed.role),
        )
    if kind == "channel_changed":
        settings = event.channel_changed
        return ChannelEvent(
            **common,
            created=settings.created,
            kind=ChannelKind(settings.kind),
            title=settings.title,
            history_visibility=HistoryVisibility(settings.history_visibility),
            member_limit=settings.member_limit,
        )
    return UnknownEvent(**common, raw=event)


def message_of(event: event_pb2.Event) -> MessageEvent:
    """The message that an event of a list of messages carries. Raises ValueError when it carries none."""
    message = event_of(event)
    if not isinstance(message, MessageEvent):
        raise ValueError(f"event {event.seq} of channel {event.channel_id} carries no message")
    return message
