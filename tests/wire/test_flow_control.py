"""Windows in both directions: what we may send, what the peer may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_wire import frames, headers
from parley_wire.errors import ErrorCode
from parley_wire.events import DataReceived, RequestReceived
from parley_wire.flow import ReceiveWindow
from parley_wire.limits import Limits
from parley_wire.settings import INITIAL_WINDOW_SIZE
from parley_wire.testing.peer import RESPONSE, Frame, Peer, padded

if TYPE_CHECKING:
    from parley_wire.stream import Stream


def serving(peer: Peer, stream_id: int = 1) -> Stream:
    """A stream whose response headers are out."""
    (event,) = peer.feed(peer.request(stream_id))
    assert isinstance(event, RequestReceived)
    peer.connection.sender.headers(event.stream, headers.encode(RESPONSE), end_stream=False)
    peer.sent()
    return event.stream


def data_of(sent: list[Frame]) -> list[tuple[int, int]]:
    """Stream and size of DATA frames."""
    return [(frame.stream_id, len(frame.payload)) for frame in sent if frame.kind == frames.DATA]


def test_data_waits_for_the_streams_window() -> None:
    """Not a byte more than allowed goes; the rest follows each WINDOW_UPDATE."""
    peer = Peer().shake_hands(((INITIAL_WINDOW_SIZE, 10),))
    stream = serving(peer)
    assert not peer.connection.sender.data(stream, b"x" * 25)
    assert data_of(peer.sent()) == [(1, 10)]
    peer.feed(frames.window_update(1, 5))
    assert data_of(peer.sent()) == [(1, 5)]
    peer.feed(frames.window_update(1, 100))
    assert data_of(peer.sent()) == [(1, 10)]
    assert peer.connection.sender.drained == [stream]


def test_data_waits_for_the_connections_window() -> None:
    """65,535 bytes for all streams together, whatever their own windows allow."""
    peer = Peer().shake_hands(((INITIAL_WINDOW_SIZE, 2**20),))
    first, second = serving(peer, 1), serving(peer, 3)
    peer.connection.sender.data(first, b"x" * 60_000)
    peer.connection.sender.data(second, b"y" * 60_000)
    assert sum(size for _, size in data_of(peer.sent())) == 65_535
    peer.feed(frames.window_update(0, 54_465))
    assert sum(size for _, size in data_of(peer.sent())) == 54_465


def test_a_changed_initial_window_shifts_open_streams() -> None:
    """Section 6.9.2: below zero if need be; nothing goes until it is above again.

    Planted: with windows cut off at zero, ten bytes too many went.
    """
    peer = Peer().shake_hands(((INITIAL_WINDOW_SIZE, 100),))
    stream = serving(peer)
    peer.connection.sender.data(stream, b"x" * 150)
    assert data_of(peer.sent()) == [(1, 100)]
    peer.feed(frames.settings(((INITIAL_WINDOW_SIZE, 90),)))
    assert stream.send_window == -10
    peer.feed(frames.window_update(1, 10))
    assert data_of(peer.sent()) == []
    peer.feed(frames.window_update(1, 5))
    assert data_of(peer.sent()) == [(1, 5)]
    peer.feed(frames.settings(((INITIAL_WINDOW_SIZE, 1000),)))
    assert data_of(peer.sent()) == [(1, 45)]


def test_a_changed_initial_window_leaves_the_connections_alone() -> None:
    """Section 6.9.2."""
    peer = Peer().shake_hands(((INITIAL_WINDOW_SIZE, 2**20),))
    assert peer.connection.sender.window == 65_535


@pytest.mark.parametrize("stream_id", [0, 1])
def test_a_window_beyond_two_gigabytes_is_an_error(stream_id: int) -> None:
    """Section 6.9.1: of the connection for stream 0, else of the stream."""
    peer = Peer().shake_hands()
    serving(peer)
    events = peer.feed(frames.window_update(stream_id, 2**31 - 1))
    if stream_id:
        assert peer.cut(events) is ErrorCode.FLOW_CONTROL_ERROR
    else:
        assert peer.failure(events) is ErrorCode.FLOW_CONTROL_ERROR


def test_settings_that_overflow_a_window_are_an_error() -> None:
    """Section 6.9.2: the stream had a large increment already."""
    peer = Peer().shake_hands()
    serving(peer)
    peer.feed(frames.window_update(1, 2**31 - 1 - 65_535))
    events = peer.feed(frames.settings(((INITIAL_WINDOW_SIZE, 2**31 - 1),)))
    assert peer.failure(events) is ErrorCode.FLOW_CONTROL_ERROR


@pytest.mark.parametrize("stream_id", [0, 1])
def test_an_increment_of_zero_is_an_error(stream_id: int) -> None:
    """Section 6.9."""
    peer = Peer().shake_hands()
    serving(peer)
    events = peer.feed(frames.window_update(stream_id, 0))
    found = peer.cut(events) if stream_id else peer.failure(events)
    assert found is ErrorCode.PROTOCOL_ERROR


def test_more_than_a_streams_window_resets_it() -> None:
    """Section 6.9.1. The bytes still count for the connection, which goes on."""
    peer = Peer(limits=Limits(stream_window_bytes=1000)).shake_hands()
    events = peer.feed(peer.request(1), frames.frame(frames.DATA, 0, 1, b"x" * 1001))
    assert peer.cut(events) is ErrorCode.FLOW_CONTROL_ERROR
    assert isinstance(peer.feed(peer.request(3))[0], RequestReceived)


def test_more_than_the_connections_window_ends_it() -> None:
    """Nothing is consumed here, so nothing is opened again."""
    peer = Peer(limits=Limits(connection_window_bytes=65_535, connection_unread_bytes=1)).shake_hands()
    events = []
    for at in range(5):
        stream_id = 2 * at + 1
        events += peer.feed(peer.request(stream_id), frames.frame(frames.DATA, 0, stream_id, b"x" * 16_000))
    assert peer.failure(events) is ErrorCode.FLOW_CONTROL_ERROR


def test_unread_data_shuts_the_window_and_reading_opens_it() -> None:
    """The stream's by half of its size; a reader that stops stops the writer."""
    peer = Peer(limits=Limits(stream_window_bytes=1000)).shake_hands()
    events = peer.feed(peer.request(1), frames.frame(frames.DATA, 0, 1, b"x" * 1000))
    data = events[-1]
    assert isinstance(data, DataReceived)
    assert peer.sent() == []
    peer.connection.consumed(data.stream, 499)
    assert peer.sent() == []
    peer.connection.consumed(data.stream, 1)
    (update,) = peer.sent()
    assert (update.kind, update.stream_id, update.number) == (frames.WINDOW_UPDATE, 1, 500)


def credited(peer: Peer) -> int:
    """What the connection's window was opened by."""
    return sum(
        frame.number for frame in peer.sent() if frame.kind == frames.WINDOW_UPDATE and frame.stream_id == 0
    )


def test_data_of_dead_streams_is_credited_to_the_connection() -> None:
    """Or else the connection runs dry. Planted: without it, the last request could not send."""
    peer = Peer(limits=Limits(connection_window_bytes=65_535)).shake_hands()
    (event,) = peer.feed(peer.request(1))
    assert isinstance(event, RequestReceived)
    peer.connection.reset(event.stream, ErrorCode.CANCEL)
    peer.sent()
    peer.feed(*[frames.frame(frames.DATA, 0, 1, b"x" * 16_000)] * 4)
    assert credited(peer) >= 32_768


def test_unread_data_is_credited_when_its_stream_dies() -> None:
    """The handler will never read it."""
    limits = Limits(connection_window_bytes=65_535, connection_unread_bytes=1)
    peer = Peer(limits=limits).shake_hands()
    peer.feed(peer.request(1), *[frames.frame(frames.DATA, 0, 1, b"x" * 16_000)] * 4)
    assert credited(peer) == 0
    peer.feed(frames.rst_stream(1, ErrorCode.CANCEL))
    assert credited(peer) == 64_000


def test_padding_is_credited_at_once() -> None:
    """It counts for both windows (section 6.1), and nobody else gives it back."""
    peer = Peer(limits=Limits(stream_window_bytes=400)).shake_hands()
    events = peer.feed(peer.request(1), padded(frames.DATA, 0, 1, b"abc", 255))
    assert isinstance(events[-1], DataReceived)
    assert events[-1].data == b"abc"
    assert [(frame.stream_id, frame.number) for frame in peer.sent()] == [(1, 256)]


def test_more_padding_than_payload_is_an_error() -> None:
    """Section 6.1."""
    peer = Peer().shake_hands()
    events = peer.feed(peer.request(1), frames.frame(frames.DATA, frames.PADDED, 1, b"\x04abc"))
    assert peer.failure(events) is ErrorCode.PROTOCOL_ERROR


def test_our_smaller_window_holds_from_the_acknowledgement_on() -> None:
    """Section 6.5.3: before it, the peer may go by the protocol's default."""
    peer = Peer(limits=Limits(stream_window_bytes=100))
    peer.feed(frames.PREFACE + frames.settings(()))
    events = peer.feed(peer.request(1), frames.frame(frames.DATA, 0, 1, b"x" * 150))
    assert isinstance(events[-1], DataReceived)
    peer.feed(frames.SETTINGS_ACK)
    assert events[-1].stream.window.left_bytes == -50


@given(st.integers(1, 10_000), st.lists(st.integers(0, 5000)))
def test_a_receive_window_never_lends_more_than_its_size(size: int, steps: list[int]) -> None:
    """What may still come, plus what came unconsumed, is its size."""
    window = ReceiveWindow(size)
    lent, unread = size, 0
    for step in steps:
        came = min(step, lent)
        assert window.received(came)
        lent -= came
        unread += came
        done = unread // 2
        unread -= done
        lent += window.consumed(done)
        assert lent == window.left_bytes
        assert lent + unread <= size
    assert not window.received(lent + 1)


@given(st.lists(st.one_of(st.integers(1, 40_000), st.just(-1), st.just(-2)), max_size=60))
def test_every_byte_goes_once_and_in_order(steps: list[int]) -> None:
    """Sizes are messages; -1 opens the stream's window, -2 the connection's. In the end all of it was sent,
    and never more than the windows allowed. Planted: pieces put back behind the queue were found.
    """
    peer = Peer().shake_hands(((INITIAL_WINDOW_SIZE, 1000),))
    stream = serving(peer)
    wanted = b""
    got = b""
    allowed_stream, allowed = 1000, 65_535
    for at, step in enumerate(steps):
        if step > 0:
            piece = bytes([at % 256]) * step
            wanted += piece
            peer.connection.sender.data(stream, piece)
        elif step == -1:
            allowed_stream += 30_000
            peer.feed(frames.window_update(1, 30_000))
        else:
            allowed += 20_000
            peer.feed(frames.window_update(0, 20_000))
        got += b"".join(frame.payload for frame in peer.sent() if frame.kind == frames.DATA)
        assert len(got) <= min(allowed, allowed_stream)
        assert len(got) == min(len(wanted), allowed, allowed_stream)
    peer.feed(frames.window_update(0, 2**30), frames.window_update(1, 2**30))
    got += b"".join(frame.payload for frame in peer.sent() if frame.kind == frames.DATA)
    assert got == wanted
