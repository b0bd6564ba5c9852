"""What waits for one device: in order, bounded, joined into frames."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parley.chat.v1 import event_pb2, stream_pb2
from parley_server.chat.framing import control_field, event_field, reply_field
from parley_server.chat.outbox import Outbox, OutboxLimits

MARK = -1


def event(seq: int, size: int = 10) -> bytes:
    return event_field(event_pb2.Event(seq=seq, channel_id="x" * size).SerializeToString())


class OutboxMachine(RuleBasedStateMachine):
    """Against a plain list of fields."""

    @initialize(events=st.integers(1, 6), waiting=st.integers(20, 400), frame=st.integers(10, 200))
    def begin(self, events: int, waiting: int, frame: int) -> None:
        self.limits = OutboxLimits(events=events, waiting_bytes=waiting, frame_bytes=frame)
        self.outbox = Outbox(self.limits)
        self.fields: deque[tuple[bytes, int]] = deque()
        self.positions: deque[tuple[int, int]] = deque()
        self.put = self.taken = self.seq = self.position = 0

    @rule(size=st.integers(0, 300))
    def add_event(self, size: int) -> None:
        self.seq += 1
        field = event(self.seq, size)
        taken = self.outbox.add_event(field, "c", self.seq)
        assert taken == self._has_room_for(field)
        if taken:
            self.fields.append((field, self.seq))
            self.put += 1

    @rule(size=st.integers(0, 60))
    def add_mark(self, size: int) -> None:
        field = control_field(b"x" * size)
        taken = self.outbox.add_mark(field)
        assert taken == self._has_room_for(field)
        if taken:
            self.fields.append((field, MARK))
            self.put += 1

    def _has_room_for(self, field: bytes) -> bool:
        droppable = sum(seq != 0 for _, seq in self.fields)
        waiting = sum(len(other) for other, _ in self.fields)
        fits = droppable < self.limits.events and waiting + len(field) <= self.limits.waiting_bytes
        return not droppable or fits

    @rule(number=st.integers(1, 9))
    def add_reply(self, number: int) -> None:
        field = reply_field(stream_pb2.Reply(request_id=number).SerializeToString())
        self.outbox.add(field)
        self.fields.append((field, 0))
        self.put += 1

    @rule()
    def reach(self) -> None:
        self.position += 1
        assert self.outbox.reach(self.position) == bool(self.fields)
        if self.fields:
            self.positions.append((self.put, self.position))

    @precondition(lambda self: self.fields)
    @rule()
    def take_a_frame(self) -> None:
        frame = self.outbox.next_frame()
        expected = b""
        while self.fields and (
            not expected or len(expected) + len(self.fields[0][0]) <= self.limits.frame_bytes
        ):
            expected += self.fields.popleft()[0]
            self.taken += 1
        assert frame.message == expected
        reached = None
        while self.positions and self.positions[0][0] <= self.taken:
            reached = self.positions.popleft()[1]
        assert frame.position == reached

    @rule()
    def drop_the_events(self) -> None:
        seqs = [seq for _, seq in self.fields if seq > 0]
        dropped = self.outbox.drop_events()
        assert dropped.events == len(seqs)
        assert dropped.lowest_seqs == ({"c": seqs[0]} if seqs else {})
        self.fields = deque(entry for entry in self.fields if not entry[1])
        self.positions.clear()
        self.put = self.taken + len(self.fields)

    @invariant()
    def it_counts(self) -> None:
        assert len(self.outbox) == len(self.fields)
        assert self.outbox.undroppable == sum(seq == 0 for _, seq in self.fields)
        assert self.outbox.waiting_bytes == sum(len(field) for field, _ in self.fields)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_frame_ends_at_its_limit_to_the_byte() -> None:
    """Two fields that fill it go together; one byte more and they do not. `<` for `<=` fails."""
    one, other = event(1), event(2)
    for limit, frames in ((len(one) + len(other), [one + other]), (len(one) + len(other) - 1, [one, other])):
        outbox = Outbox(OutboxLimits(frame_bytes=limit))
        outbox.add_event(one, "c", 1)
        outbox.add_event(other, "c", 2)
        assert [outbox.next_frame().message for _ in range(len(outbox)) if len(outbox)] == frames


@pytest.mark.parametrize("size", [1, 65_536, 1_000_000])
def test_one_event_of_any_size_fits_an_empty_outbox(size: int) -> None:
    """Otherwise it could never be delivered. It travels alone, and nothing is added to it."""
    outbox = Outbox(OutboxLimits())
    big = event(1, size)
    assert outbox.add_event(big, "c", 1)
    outbox.add_event(event(2), "c", 2)
    frame = outbox.next_frame().message
    assert frame == big or len(frame) <= 64 * 1024
    assert frame.startswith(big)


def test_default_frames_stay_below_64_kib() -> None:
    """With thousands of small events, and one large in the middle, which goes by itself."""
    outbox = Outbox(OutboxLimits(events=10_000, waiting_bytes=10_000_000))
    for seq in range(1, 3001):
        outbox.add_event(event(seq, 100_000 if seq == 1500 else seq % 200), "c", seq)
    seqs: list[int] = []
    while len(outbox):
        message = outbox.next_frame().message
        events = stream_pb2.ConnectResponse.FromString(message).events
        assert len(message) <= 64 * 1024 or len(events) == 1
        seqs += [each.seq for each in events]
    assert seqs == list(range(1, 3001))


def test_clearing_forgets_everything() -> None:
    """Nothing of an ended stream stays in memory."""
    outbox = Outbox(OutboxLimits())
    outbox.add_event(event(1), "c", 1)
    outbox.clear()
    assert (len(outbox), outbox.waiting_bytes, outbox.has_room) == (0, 0, True)


def test_a_large_event_is_taken_though_replies_wait() -> None:
    """A client that keeps asking would never get it otherwise."""
    outbox = Outbox(OutboxLimits(waiting_bytes=100))
    outbox.add(b"reply")
    assert outbox.add_event(event(1, 400_000), "c", 1)
    assert not outbox.add_event(event(2), "c", 2)
