"""Streams open, half-closed and closed; late frames; numbers; resets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_wire import frames, headers
from parley_wire.errors import ErrorCode, LocalProtocolError
from parley_wire.events import DataReceived, RequestReceived, StreamEnded
from parley_wire.limits import Limits
from parley_wire.settings import INITIAL_WINDOW_SIZE
from parley_wire.testing.peer import REQUEST, RESPONSE, Peer

if TYPE_CHECKING:
    from parley_wire.stream import Stream

DATA = frames.frame(frames.DATA, 0, 1, b"x")
UPDATE = frames.window_update(1, 1)
RESET = frames.rst_stream(1, ErrorCode.CANCEL)


def opened(peer: Peer, stream_id: int = 1, *, end_stream: bool = False) -> Stream:
    (event,) = peer.feed(peer.request(stream_id, end_stream=end_stream))
    assert isinstance(event, RequestReceived)
    return event.stream


def answered(peer: Peer, stream_id: int = 1) -> None:
    stream = opened(peer, stream_id, end_stream=True)
    peer.connection.sender.headers(stream, headers.encode(RESPONSE), end_stream=True)
    peer.sent()


@pytest.mark.parametrize("late", [DATA, UPDATE, RESET], ids=["DATA", "WINDOW_UPDATE", "RST_STREAM"])
def test_frames_after_our_reset_are_tolerated(late: bytes) -> None:
    """The peer could not know. Planted: with the note of our reset forgotten, DATA was answered again."""
    peer = Peer().shake_hands()
    stream = opened(peer)
    peer.connection.reset(stream, ErrorCode.CANCEL)
    peer.sent()
    assert peer.feed(late) == []
    assert peer.sent() == []
    assert opened(peer, 3)


@pytest.mark.parametrize("late", [UPDATE, RESET], ids=["WINDOW_UPDATE", "RST_STREAM"])
def test_frames_after_the_end_that_may_cross_it_are_tolerated(late: bytes) -> None:
    """Section 5.1: they may be on their way when both ends are done."""
    peer = Peer().shake_hands()
    answered(peer)
    assert peer.feed(late) == []
    assert peer.sent() == []


def test_data_after_the_peers_own_end_is_an_error() -> None:
    """Half-closed and closed (section 5.1): STREAM_CLOSED; the connection goes on."""
    peer = Peer().shake_hands()
    opened(peer, end_stream=True)
    assert peer.cut(peer.feed(DATA)) is ErrorCode.STREAM_CLOSED
    answered(peer, 3)
    peer.feed(frames.frame(frames.DATA, 0, 3, b"x"))
    assert [frame.code for frame in peer.sent()] == [ErrorCode.STREAM_CLOSED]
    assert opened(peer, 5)


def test_headers_on_a_closed_stream_end_the_connection() -> None:
    """Section 5.1."""
    peer = Peer().shake_hands()
    answered(peer)
    assert peer.failure(peer.feed(peer.request(1))) is ErrorCode.STREAM_CLOSED


@pytest.mark.parametrize(
    "sent",
    [
        frames.frame(frames.DATA, 0, 1, b"x"),
        frames.rst_stream(1, 0),
        frames.window_update(1, 1),
        frames.frame(frames.DATA, 0, 0, b""),
        frames.rst_stream(0, 0),
        frames.headers(0, headers.encode(REQUEST), end_stream=True),
        frames.headers(2, headers.encode(REQUEST), end_stream=True),
        frames.frame(frames.CONTINUATION, 0, 1, b""),
        frames.frame(frames.PUSH_PROMISE, frames.END_HEADERS, 1, b"\0\0\0\2"),
    ],
)
def test_frames_that_no_stream_can_take_end_the_connection(sent: bytes) -> None:
    """Idle streams, stream 0, even numbers (sections 5.1, 5.1.1, 6)."""
    peer = Peer().shake_hands()
    assert peer.failure(peer.feed(sent)) is ErrorCode.PROTOCOL_ERROR


def test_numbers_must_grow() -> None:
    """Section 5.1.1."""
    peer = Peer().shake_hands()
    opened(peer, 5)
    assert peer.failure(peer.feed(peer.request(3))) is ErrorCode.PROTOCOL_ERROR


def test_one_stream_too_many_is_refused() -> None:
    """Section 5.1.2: REFUSED_STREAM says that it is safe to retry; room comes back when one closes."""
    peer = Peer(limits=Limits(streams_per_connection=2)).shake_hands()
    opened(peer, 1)
    opened(peer, 3)
    assert peer.feed(peer.request(5)) == []
    assert [frame.code for frame in peer.sent()] == [ErrorCode.REFUSED_STREAM]
    peer.feed(RESET)
    assert opened(peer, 7)


def test_a_reset_stream_counts_while_its_handler_runs() -> None:
    """Rapid reset: closing the stream does not close the work. Planted: counted by open streams only, the
    third was taken.
    """
    peer = Peer(limits=Limits(streams_per_connection=2)).shake_hands()
    running = [opened(peer, 1), opened(peer, 3)]
    for stream in running:
        stream.held = True
    peer.feed(RESET, frames.rst_stream(3, ErrorCode.CANCEL))
    assert peer.feed(peer.request(5)) == []
    assert [frame.code for frame in peer.sent()] == [ErrorCode.REFUSED_STREAM]
    peer.connection.release(running[0])
    assert opened(peer, 7)
    peer.connection.release(running[0])
    assert peer.feed(peer.request(9)) == []


def test_what_waits_is_dropped_when_the_stream_is_reset() -> None:
    """Nothing goes on it any more, whoever reset it; others go on."""
    peer = Peer().shake_hands(((INITIAL_WINDOW_SIZE, 10),))
    first, second = opened(peer, 1), opened(peer, 3)
    sender = peer.connection.sender
    for stream in (first, second):
        sender.headers(stream, headers.encode(RESPONSE), end_stream=False)
        sender.data(stream, b"x" * 1000)
        sender.end(stream, headers.encode([(b"grpc-status", b"0")]))
    peer.sent()
    (event,) = peer.feed(RESET)
    assert isinstance(event, StreamEnded) and event.remote
    peer.connection.reset(second, ErrorCode.CANCEL)
    peer.feed(frames.settings(((INITIAL_WINDOW_SIZE, 10_000),)))
    kinds = {(frame.kind, frame.stream_id) for frame in peer.sent()}
    assert kinds == {(frames.RST_STREAM, 3), (frames.SETTINGS, 0)}
    assert sender.queued_bytes == 0


def test_the_end_follows_everything_that_waits() -> None:
    """Trailers behind data, however late the window opens; without trailers the last DATA says it."""
    peer = Peer().shake_hands(((INITIAL_WINDOW_SIZE, 10),))
    sender = peer.connection.sender
    for stream_id, trailers in ((1, headers.encode([(b"grpc-status", b"0")])), (3, b"")):
        stream = opened(peer, stream_id, end_stream=True)
        sender.headers(stream, headers.encode(RESPONSE), end_stream=False)
        sender.data(stream, b"x" * 15)
        sender.end(stream, trailers)
        assert [frame.flags & 1 for frame in peer.sent()] == [0, 0]
        peer.feed(frames.window_update(stream_id, 100))
        sent = peer.sent()
        assert [frame.kind for frame in sent] == ([0, 1] if trailers else [0])
        assert sent[-1].flags & frames.END_STREAM
        assert stream.closed


def test_an_answer_before_the_requests_end_stops_it() -> None:
    """Section 8.1: RST_STREAM with NO_ERROR, and what still comes is tolerated."""
    peer = Peer().shake_hands()
    stream = opened(peer)
    peer.connection.sender.headers(stream, headers.encode(RESPONSE), end_stream=True)
    assert [(frame.kind, frame.flags & 1) for frame in peer.sent()] == [(1, 1), (3, 0)]
    assert peer.feed(DATA) == []
    assert peer.sent() == []


@pytest.mark.parametrize(("said", "sent"), [(b"5", b"xxx"), (b"2", b"xxx"), (b"0", b"x")])
def test_a_body_must_have_the_length_it_named(said: bytes, sent: bytes) -> None:
    """Section 8.1.1."""
    peer = Peer().shake_hands()
    peer.feed(peer.request(1, fields=((b"content-length", said),)))
    events = peer.feed(frames.frame(frames.DATA, frames.END_STREAM, 1, sent))
    assert peer.cut(events) is ErrorCode.PROTOCOL_ERROR


def test_a_body_of_the_length_it_named() -> None:
    """Padding does not count."""
    peer = Peer().shake_hands()
    peer.feed(peer.request(1, fields=((b"content-length", b"3"),)))
    body = frames.frame(frames.DATA, frames.END_STREAM | frames.PADDED, 1, b"\x02abc\0\0")
    (event,) = peer.feed(body)
    assert isinstance(event, DataReceived) and event.data == b"abc" and event.end_stream


def test_closed_streams_are_told_once() -> None:
    """Whatever ended them."""
    peer = Peer().shake_hands()
    answered(peer, 1)
    by_peer, by_us = opened(peer, 3), opened(peer, 5)
    peer.feed(frames.rst_stream(3, 0))
    peer.connection.reset(by_us, ErrorCode.CANCEL)
    peer.connection.reset(by_us, ErrorCode.CANCEL)
    peer.connection.close()
    assert [stream.id for stream in peer.connection.closed_streams or ()] == [1, 3, 5]
    assert by_peer.closed


class TestClient:
    """What a client may open."""

    def test_odd_numbers_that_grow(self) -> None:
        """Section 5.1.1."""
        peer = Peer(client=True).shake_hands()
        block = headers.encode(REQUEST)
        opened = [peer.connection.open_stream(block, end_stream=True) for _ in range(3)]
        assert [stream.id for stream in opened] == [1, 3, 5]

    def test_as_many_as_the_server_takes(self) -> None:
        """A lowered limit holds for new streams."""
        peer = Peer(client=True).shake_hands(((3, 1),))
        peer.connection.open_stream(headers.encode(REQUEST), end_stream=True)
        assert not peer.connection.can_open
        with pytest.raises(LocalProtocolError):
            peer.connection.open_stream(headers.encode(REQUEST), end_stream=True)
        peer.feed(frames.headers(1, headers.encode(RESPONSE), end_stream=True))
        assert peer.connection.can_open

    def test_none_after_goaway(self) -> None:
        """Section 6.8."""
        peer = Peer(client=True).shake_hands()
        peer.feed(frames.goaway(0, ErrorCode.NO_ERROR, b"bye"))
        assert not peer.connection.can_open
        assert peer.connection.peer_goaway is not None
        assert peer.connection.peer_goaway.debug == b"bye"


def test_a_stream_is_reset_once() -> None:
    """Section 5.4.2. Found by the fuzzer: a PRIORITY of a wrong size brought a second RST_STREAM."""
    peer = Peer().shake_hands()
    peer.feed(peer.request(1))
    wrong = frames.frame(frames.PRIORITY, 0, 1, b"four")
    assert peer.cut(peer.feed(wrong)) is ErrorCode.FRAME_SIZE_ERROR
    assert peer.feed(wrong) == []
    assert peer.sent() == []


def test_a_connection_is_given_up_once() -> None:
    """Later reasons change nothing, and what comes then is not looked at."""
    peer = Peer().shake_hands()
    assert peer.failure(peer.feed(frames.frame(frames.PING, 0, 0, b""))) is ErrorCode.FRAME_SIZE_ERROR
    peer.connection.fail(ErrorCode.INTERNAL_ERROR, "another reason")
    peer.connection.shut_down()
    peer.connection.finish_shutdown()
    assert peer.feed(peer.request(1)) == []
    assert peer.sent() == []
    peer.connection.close()


def test_the_owner_may_be_late() -> None:
    """What it asks of a stream that closed meanwhile has no effect."""
    peer = Peer().shake_hands()
    (event,) = peer.feed(peer.request(1))
    assert isinstance(event, RequestReceived)
    core, stream = peer.connection, event.stream
    peer.feed(frames.rst_stream(1, ErrorCode.CANCEL))
    peer.sent()
    core.reset(stream, ErrorCode.CANCEL)
    core.forget(stream, by_us=True)
    core.consumed(stream, 100)
    core.release(stream)
    assert peer.sent() == []
    assert core.streams.peer_load == 0
    core.close()
    core.sender.end(stream, b"")
