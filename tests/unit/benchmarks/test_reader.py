"""What the checking reader refuses."""

from __future__ import annotations

import asyncio

import pytest
from benchmarks.clients import Counter, Device
from benchmarks.reader import Reader

from parley.chat.v1 import event_pb2, stream_pb2


def _frame(*seqs: int, channel_id: str = "c") -> bytes:
    events = [event_pb2.Event(channel_id=channel_id, seq=seq) for seq in seqs]
    return stream_pb2.ConnectResponse(events=events).SerializeToString()


async def _reader_at(head_seq: int) -> tuple[Reader, Counter]:
    """A live reader of channel c that has everything up to `head_seq`."""
    counter = Counter()
    reader = Reader(Device("token"), counter)
    head = stream_pb2.Control(
        digest=stream_pb2.Digest(heads=[stream_pb2.ChannelHead(channel_id="c", head_seq=head_seq)])
    )
    reader._joining(stream_pb2.ConnectResponse(controls=[head]).SerializeToString())
    # Joined already, so that what is lost later is told to the counter alone.
    reader._caught_up.set_result(None)
    return reader, counter


async def test_what_follows_is_taken() -> None:
    reader, counter = await _reader_at(3)
    for frame in (_frame(4), _frame(5, 6), _frame(1, channel_id="new"), _frame(7)):
        reader._live(frame)
    assert counter.failure is None
    assert counter.events == 5
    assert reader.heads == {"c": 7, "new": 1}


@pytest.mark.parametrize(
    ("seqs", "said"),
    [
        ((5,), "event 5 of a channel came, and what lies between is missing: 4 was the next"),
        ((4, 6), "event 6 of a channel came, and what lies between is missing: 5 was the next"),
        ((4, 4), "event 4 of a channel came again or late: 5 was the next"),
        ((4, 5, 3), "event 3 of a channel came again or late: 6 was the next"),
    ],
)
async def test_a_hole_a_repeat_and_a_step_back_fail_the_run(seqs: tuple[int, ...], said: str) -> None:
    """Each was seen to pass with the comparison of seqs taken out of the reader."""
    reader, counter = await _reader_at(3)
    reader._live(_frame(*seqs))
    assert str(counter.failure) == said


async def test_lagging_lasts_until_caught_up() -> None:
    reader, counter = await _reader_at(3)
    lagging = stream_pb2.Control(lagging=stream_pb2.Lagging(dropped_events=9))
    reader._live(stream_pb2.ConnectResponse(controls=[lagging]).SerializeToString())
    assert (reader.lagging, reader.lags, reader.dropped_events) == (True, 1, 9)
    reader._live(_frame(4, 5))
    assert reader.lagging
    caught_up = stream_pb2.Control(caught_up=stream_pb2.CaughtUp())
    before = asyncio.get_running_loop().time()
    reader._live(stream_pb2.ConnectResponse(controls=[caught_up]).SerializeToString())
    assert not reader.lagging and reader.caught_up_at >= before
    assert counter.failure is None
