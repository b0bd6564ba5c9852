"""Events to and from their encoded form. An event is encoded once; everyone gets these bytes."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from parley.chat.v1 import event_pb2
from parley_server.chat.body_codec import body_of, set_body
from parley_server.chat.event import Event, MessagePosted
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
    set_body(message, event.body)
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
        body=body_of(message),
    )


def with_text_cut(encoded: bytes, limit_code_points: int) -> bytes:
    """The encoded event, its text cut for a preview."""
    message = event_pb2.Event.FromString(encoded)
    if len(message.message.text) <= limit_code_points:
        return encoded
    message.message.text = message.message.text[:limit_code_points]
    return message.SerializeToString()
