"""Fields joined into frames read as the messages they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.chat.v1 import event_pb2, stream_pb2
from parley_server.chat.framing import control_field, cursor_field, event_field, reply_field

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor

EVENTS = st.builds(event_pb2.Event, channel_id=st.text(max_size=8), seq=st.integers(0, 2**53 - 1))
REPLIES = st.builds(stream_pb2.Reply, request_id=st.integers(0, 2**32 - 1))
CONTROLS = st.builds(
    stream_pb2.Control,
    read_position=st.builds(stream_pb2.ReadPosition, channel_id=st.text(max_size=8)),
)
FIELDS = st.lists(
    st.one_of(
        st.tuples(st.just("events"), EVENTS),
        st.tuples(st.just("replies"), REPLIES),
        st.tuples(st.just("controls"), CONTROLS),
        st.tuples(st.just("cursor"), st.text(min_size=1, max_size=300)),
    )
)


@given(FIELDS)
def test_a_join_of_fields_is_the_merged_message(parts: list[tuple[str, object]]) -> None:
    """Every field once, lists in order, the last cursor. A wrong tag or length fails."""
    joined, merged = b"", stream_pb2.ConnectResponse()
    for name, value in parts:
        match value:
            case event_pb2.Event():
                joined += event_field(value.SerializeToString())
                merged.events.append(value)
            case stream_pb2.Reply():
                joined += reply_field(value.SerializeToString())
                merged.replies.append(value)
            case stream_pb2.Control():
                joined += control_field(value.SerializeToString())
                merged.controls.append(value)
            case _:
                assert name == "cursor"
                joined += cursor_field(str(value))
                merged.cursor = str(value)
    assert stream_pb2.ConnectResponse.FromString(joined) == merged
    # The same bytes go to Subscribe.
    assert stream_pb2.SubscribeResponse.FromString(joined).SerializeToString() == merged.SerializeToString()


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_lengths_are_right_at_their_borders(size: int) -> None:
    """A varint takes one byte more at each of these. `>=` for `>` fails at 127."""
    event = event_pb2.Event(message=event_pb2.Message(text="x" * size))
    encoded = event.SerializeToString()
    padded = event_pb2.Event(channel_id="x" * max(0, size - 4))
    for message in (event, padded):
        field = event_field(message.SerializeToString())
        assert field == stream_pb2.ConnectResponse(events=[message]).SerializeToString()
    assert len(event_field(encoded)) > len(encoded)
    cursor = "x" * size
    if size:
        assert cursor_field(cursor) == stream_pb2.ConnectResponse(cursor=cursor).SerializeToString()


def test_connect_and_subscribe_have_the_same_fields() -> None:
    """One encoding serves both. Another number, type or name in either fails."""

    def shape(descriptor: object) -> dict[int, tuple[object, ...]]:
        fields: list[FieldDescriptor] = descriptor.fields  # type: ignore[attr-defined]
        return {
            field.number: (
                field.name,
                field.type,
                field.is_repeated,
                field.message_type and field.message_type.full_name,
            )
            for field in fields
        }

    connect, subscribe = stream_pb2.ConnectResponse.DESCRIPTOR, stream_pb2.SubscribeResponse.DESCRIPTOR
    assert shape(connect) == shape(subscribe)
    assert [connect.fields_by_name[name].number for name in ("events", "cursor", "replies", "controls")] == [
        1,
        2,
        3,
        5,
    ]
