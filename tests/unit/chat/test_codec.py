"""Events survive their encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.chat.v1 import event_pb2
from parley_server.chat import codec
from parley_server.chat.event import (
    ChannelChanged,
    ChannelKind,
    Event,
    HistoryVisibility,
    MemberChange,
    MemberChanged,
    MessagePosted,
    Role,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
NUMBERS = st.integers(0, 2**53 - 1)
BODIES = st.one_of(
    st.builds(
        MessagePosted,
        TEXT,
        st.dictionaries(TEXT, TEXT, max_size=5).map(lambda found: tuple(sorted(found.items()))),
    ),
    st.builds(MemberChanged, TEXT, st.sampled_from(MemberChange), st.none() | st.sampled_from(Role)),
    st.builds(
        ChannelChanged,
        st.booleans(),
        st.sampled_from(ChannelKind),
        TEXT,
        st.sampled_from(HistoryVisibility),
        st.integers(0, 2**31 - 1),
    ),
)
EVENTS = st.builds(Event, TEXT, NUMBERS, NUMBERS, NUMBERS, TEXT, TEXT, st.binary(max_size=32), BODIES)


@given(EVENTS)
def test_an_event_survives_its_row(event: Event) -> None:
    """What was decided is what is read. A field left out of either direction fails."""
    row = codec.row_of(event)
    assert codec.event_of(row) == event
    assert row.seq == event.seq
    assert row.is_message == isinstance(event.body, MessagePosted)


@given(EVENTS)
def test_readers_get_the_contract_s_event(event: Event) -> None:
    """The stored bytes are the wire's bytes, and the digest is not in them."""
    message = event_pb2.Event.FromString(codec.encode(event))
    assert (message.channel_id, message.seq, message.message_no) == (
        event.channel_id,
        event.seq,
        event.message_no,
    )
    assert message.WhichOneof("kind") is not None
    assert event_pb2.Event.DESCRIPTOR.fields_by_name.get("digest") is None


@pytest.mark.parametrize("encoded", [b"", b"\xff", event_pb2.Event(seq=3).SerializeToString()])
def test_what_is_not_an_event_is_refused(encoded: bytes) -> None:
    """A damaged row is an error, never an empty event."""
    with pytest.raises(ValueError, match=r"."):
        codec.decode(encoded, b"")


@given(TEXT, st.integers(0, 50))
def test_a_preview_is_cut_by_code_points(text: str, limit: int) -> None:
    """Never within a character. Cutting bytes fails for every script but one."""
    event = Event("c", 1, 1, 1, "ann", "", b"", MessagePosted(text))
    cut = event_pb2.Event.FromString(codec.with_text_cut(codec.encode(event), limit))
    assert cut.message.text == text[:limit]
