"""Output: one write, in turns, shared frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_wire import frames, headers
from parley_wire.errors import ErrorCode
from parley_wire.events import RequestReceived
from parley_wire.limits import Limits
from parley_wire.settings import INITIAL_WINDOW_SIZE
from parley_wire.shared_frame import SharedFrame
from parley_wire.testing.peer import RESPONSE, Peer, split

if TYPE_CHECKING:
    from parley_wire.sender import Sender
    from parley_wire.stream import Stream


def serving(peer: Peer, stream_id: int) -> Stream:
    (event,) = peer.feed(peer.request(stream_id))
    assert isinstance(event, RequestReceived)
    peer.connection.sender.headers(event.stream, headers.encode(RESPONSE), end_stream=False)
    peer.connection.sender.take()
    return event.stream


def wide(flush_bytes: int = 64 * 1024) -> tuple[Peer, Sender]:
    """A peer whose windows are open wide."""
    peer = Peer(limits=Limits(flush_bytes=flush_bytes)).shake_hands(((INITIAL_WINDOW_SIZE, 2**30),))
    peer.feed(frames.window_update(0, 2**30))
    return peer, peer.connection.sender


def test_a_large_message_does_not_stand_in_the_way_of_small_events() -> None:
    """400 KB on one stream; ten events on another, sent after it: they are out long before its end.

    Planted: with the queue of one stream emptied before the next had its turn, they came last.
    """
    peer, sender = wide(flush_bytes=32 * 1024)
    large, small = serving(peer, 1), serving(peer, 3)
    sender.data(large, b"x" * 400_000)
    for _ in range(10):
        sender.data(small, b"event")
    order: list[int] = []
    while sender.has_more:
        order += [frame.stream_id for frame in split(sender.take())]
    assert order.count(1) == 25
    assert max(at for at, stream_id in enumerate(order) if stream_id == 3) <= 4


def test_one_write_is_bounded() -> None:
    """However much waits: other connections have their turn."""
    peer, sender = wide(flush_bytes=50_000)
    sender.data(serving(peer, 1), b"x" * 1_000_000)
    assert all(len(sender.take()) < 50_000 + 2 * 16_384 for _ in range(10))


def test_small_messages_of_a_slow_stream_are_joined() -> None:
    """What waited goes in few frames."""
    peer, sender = wide()
    stream = serving(peer, 1)
    sender.pause()
    for _ in range(100):
        assert not sender.data(stream, b"y" * 100)
    sender.resume()
    assert [len(frame.payload) for frame in split(sender.take())] == [10_000]
    assert sender.drained == [stream]


def test_what_goes_at_once_is_not_reported_as_drained() -> None:
    """`drained` is for those who were told to wait."""
    peer, sender = wide()
    stream = serving(peer, 1)
    assert sender.data(stream, b"small")
    assert sender.data(stream, b"x" * 40_000)
    assert not sender.drained


def test_a_shared_frame_is_made_once() -> None:
    """For the same bytes and the same number; another message or number makes another."""
    shared = SharedFrame()
    message = b"event" * 10
    first = shared.of(1, message)
    assert shared.of(1, message) is first
    assert shared.of(3, message) == frames.frame(0, 0, 3, b"\0\0\0\0\x32" + message)
    assert shared.of(1, b"other") == frames.frame(0, 0, 1, b"\0\0\0\0\x05other")


def test_a_message_of_several_frames_is_framed_once() -> None:
    """No frame is larger than every peer must take, and all of them together are the message."""
    shared = SharedFrame()
    message = bytes(range(256)) * 150
    first = shared.of(1, message)
    assert shared.of(1, message) is first
    made = split(first)
    assert [len(frame.payload) for frame in made] == [16_384, 16_384, 38_405 - 2 * 16_384]
    assert {(frame.kind, frame.flags, frame.stream_id) for frame in made} == {(frames.DATA, 0, 1)}
    assert b"".join(frame.payload for frame in made) == b"\0\0\0\x96\0" + message


def test_frames_made_once_go_whole_or_not_at_all() -> None:
    """Windows, the room of one write and those who wait decide as for any other message, and what goes is
    counted. Planted: without looking at a window a peer got more than it allows; without looking at the room
    one write had no bound; without looking at who waits they were overtaken.
    """
    message = b"x" * 40_000
    made = SharedFrame().of(1, message)
    size = len(message) + 5
    peer, sender = wide()
    stream = serving(peer, 1)
    windows = (sender.window, stream.send_window)
    assert sender.whole_frames(stream, made, size)
    assert (sender.window, stream.send_window) == (windows[0] - size, windows[1] - size)
    assert not sender.whole_frames(stream, made, size), "the room of this write is used up"
    assert sender.take() == made
    for narrow in ("stream", "connection"):
        peer, sender = wide()
        stream = serving(peer, 1)
        if narrow == "stream":
            stream.send_window = size - 1
        else:
            sender.window = size - 1
        assert not sender.whole_frames(stream, made, size)
        assert not sender.out
    peer, sender = wide()
    stream = serving(peer, 1)
    sender.pause()
    sender.data(stream, b"first")
    sender.resume()
    assert not sender.whole_frames(stream, made, size)
    # It is another's turn first.
    peer, sender = wide(flush_bytes=100_000)
    waiting, other = serving(peer, 1), serving(peer, 3)
    sender.data(waiting, b"y" * 120_000)
    sender.take()
    assert sender.ready
    assert not sender.whole_frames(other, SharedFrame().of(3, message), size)


def test_a_shared_frame_that_must_wait_waits_without_its_head() -> None:
    """The frame that finally goes has a head of its own."""
    peer, sender = wide()
    stream = serving(peer, 1)
    stream.send_window = 3
    assert not sender.data_frame(stream, SharedFrame().of(1, b"event"))
    assert [frame.payload for frame in split(sender.take())] == [b"\0\0\0"]
    peer.feed(frames.window_update(1, 100))
    assert [frame.payload for frame in split(sender.take())] == [b"\0\x05event"]


def test_dropped_streams_do_not_pile_up_behind_a_shut_window() -> None:
    """Nobody takes turns while the connection's window is shut. Calls that are made and given up meanwhile
    leave nothing behind. Planted: each left its stream in the round, without end.
    """
    peer = Peer().shake_hands()
    sender = peer.connection.sender
    first = serving(peer, 1)
    sender.data(first, b"x" * 100_000)
    assert sender.window == 0
    for stream_id in range(3, 10_003, 2):
        stream = serving(peer, stream_id)
        sender.data(stream, b"answer")
        peer.connection.reset(stream, ErrorCode.CANCEL)
        sender.take()
    assert 0 < len(sender.ready) < 200
    peer.feed(frames.window_update(0, 100_000), frames.window_update(1, 100_000))
    sent = b"".join(frame.payload for frame in peer.sent() if frame.kind == frames.DATA)
    assert sent == b"x" * (100_000 - 65_535)
    assert sender.queued_bytes == 0


def test_a_dropped_stream_that_waits_again_has_its_turn() -> None:
    """What `keep_begun` keeps is sent, whatever was cleared away meanwhile."""
    peer = Peer().shake_hands()
    sender = peer.connection.sender
    first = serving(peer, 1)
    sender.data(first, b"x" * 100_000)
    sender.keep_begun(first)
    for stream_id in range(3, 1003, 2):
        stream = serving(peer, stream_id)
        sender.data(stream, b"answer")
        peer.connection.reset(stream, ErrorCode.CANCEL)
        sender.take()
    peer.feed(frames.window_update(0, 100_000), frames.window_update(1, 100_000))
    sent = b"".join(frame.payload for frame in peer.sent() if frame.kind == frames.DATA)
    assert sent == b"x" * (100_000 - 65_535)


def test_what_waits_again_before_its_owner_heard() -> None:
    """The queue ran empty and was filled again before the owner was told: it is told once for each time."""
    peer = Peer().shake_hands()
    sender = peer.connection.sender
    stream = serving(peer, 1)
    assert not sender.data(stream, b"x" * 100_000)
    peer.feed(frames.window_update(0, 2**20), frames.window_update(1, 100_000 - 65_535))
    peer.sent()
    assert sender.drained == [stream]
    assert not sender.data_frame(stream, frames.frame(frames.DATA, 0, 1, b"more"))
    # The owner's turn: it looks, and is told to go on.
    sender.drained = None
    stream.blocked = False
    peer.feed(frames.window_update(1, 100))
    assert b"more" in b"".join(frame.payload for frame in peer.sent())
    # Nobody waits for word of it any more.
    assert not sender.drained


def test_a_large_message_while_the_socket_is_full() -> None:
    """It waits whole, and goes when there is room."""
    peer, sender = wide()
    stream = serving(peer, 1)
    sender.pause()
    assert not sender.data(stream, b"x" * 100_000)
    assert sender.queued_bytes == 100_000
    sender.resume()
    sent = b"".join(frame.payload for frame in peer.sent())
    assert sent == b"x" * 100_000
    assert sender.drained == [stream]
