"""Events to and from their encoded form. An event is encoded once; everyone gets these bytes."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from parley.chat.v1 import event_pb2
from parley_server.chat.event import (
    ChannelChanged,
    ChannelKind,
    Event,
    EventBody,
    HistoryVisibility,
    MemberChange,
    MemberChanged,
    MessagePosted,
    Role,
)
from parley_server.ports.message_log import Row


def row_of(event: Event) -> Row:
    """The row that stores the event."""
    return Row(event.seq, isinstance(event.body, MessagePosted), event.digest, encode(event))


def event_of(row: Row) -> Event:
    """The event that the row stores. Raises ValueError when the bytes are not one of ours."""
    return decode(row.event, row.digest)


def encode(event: Event) -> bytes:
    """`parley.chat.v1.Event` as bytes. The digest is not part of it: it is the store's, not the readers'."""
    message = event_pb2.Event(
        channel_id=event.channel_id,
        seq=event.seq,
        message_no=event.message_no,
        create_time_ms=event.create_time_ms,
        actor_id=event.actor_id,
        client_message_id=event.client_message_id,
    )
    match event.body:
        case MessagePosted(text=text, attributes=attributes):
            message.message.text = text
            if attributes:
                message.message.attributes.update(attributes)
        case MemberChanged(user_id=user_id, change=change, role=role):
            message.member_changed.user_id = user_id
            message.member_changed.change = change.value  # type: ignore[assignment]
            message.member_changed.role = role.value if role else 0  # type: ignore[assignment]
        case ChannelChanged():
            changed = message.channel_changed
            changed.created = event.body.created
            changed.kind = event.body.kind.value  # type: ignore[assignment]
            changed.title = event.body.title
            changed.history_visibility = event.body.history_visibility.value  # type: ignore[assignment]
            changed.member_limit = event.body.member_limit
    return message.SerializeToString()


def decode(encoded: bytes, digest: bytes) -> Event:
    """The event behind the bytes. Raises ValueError for anything else."""
    try:
        message = event_pb2.Event.FromString(encoded)
    except DecodeError as error:
        raise ValueError(f"not an event: {error}") from error
    return Event(
        channel_id=message.channel_id,
        seq=message.seq,
        message_no=message.message_no,
        create_time_ms=message.create_time_ms,
        actor_id=message.actor_id,
        client_message_id=message.client_message_id,
        digest=digest,
        body=_body_of(message),
    )


def _body_of(message: event_pb2.Event) -> EventBody:
    match message.WhichOneof("kind"):
        case "message":
            return MessagePosted(message.message.text, tuple(sorted(message.message.attributes.items())))
        case "member_changed":
            role = message.member_changed.role
            return MemberChanged(
                message.member_changed.user_id,
                MemberChange(message.member_changed.change),
                Role(role) if role else None,
            )
        case "channel_changed":
            changed = message.channel_changed
            return ChannelChanged(
                created=changed.created,
                kind=ChannelKind(changed.kind),
                title=changed.title,
                history_visibility=HistoryVisibility(changed.history_visibility),
                member_limit=changed.member_limit,
            )
        case _:
            raise ValueError(
                f"event {message.seq} of {message.channel_id} has no kind that this version knows"
            )


def with_text_cut(encoded: bytes, limit_code_points: int) -> bytes:
    """The encoded event, its text cut for a preview."""
    message = event_pb2.Event.FromString(encoded)
    if len(message.message.text) <= limit_code_points:
        return encoded
    message.message.text = message.message.text[:limit_code_points]
    return message.SerializeToString()
