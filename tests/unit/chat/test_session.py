"""One device's stream: per channel strictly the next seq, nothing twice, no hole, whatever comes how."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parley.chat.v1 import event_pb2, stream_pb2
from parley_server.chat.framing import event_field
from parley_server.chat.outbox import OutboxLimits
from parley_server.chat.session import Phase, Session, Verdict

CHANNELS = ("a", "b")
# When the machine finds something, Hypothesis takes its time to make it small.
pytestmark = pytest.mark.timeout(600)


def encoded(channel_id: str, seq: int) -> bytes:
    return event_field(event_pb2.Event(channel_id=channel_id, seq=seq).SerializeToString())


@dataclass
class Channel:
    """A channel's log, and which of its seqs the device's user may see."""

    head: int = 0
    member: bool = False
    joined_seq: int = 0
    visible: list[int] = field(default_factory=list)
    position: int = 0


@dataclass(frozen=True)
class Delivery:
    channel_id: str
    first_seq: int
    count: int
    position: int


class SessionMachine(RuleBasedStateMachine):
    """A world of two channels whose deliveries come late, in any order across channels, twice or never."""

    @initialize(events=st.integers(1, 8), waiting=st.sampled_from([30, 200, 5000]), had=st.integers(0, 3))
    def begin(self, events: int, waiting: int, had: int) -> None:
        self.session = Session(OutboxLimits(events=events, waiting_bytes=waiting, frame_bytes=60))
        self.channels = {channel_id: Channel() for channel_id in CHANNELS}
        self.feed = self.joined_position = 0
        self.listening = False
        self.announced: dict[int, tuple[str, int]] = {}
        self.deliveries: list[Delivery] = []
        self.sent: dict[str, list[int]] = {channel_id: [] for channel_id in CHANNELS}
        self.known: dict[str, int] = {}
        self.handed: dict[str, int] = {}
        self.snapshot: tuple[int, dict[str, int]] | None = None
        for _ in range(had):
            self._commit("a", 1)

    # The world

    def _commit(self, channel_id: str, count: int, leaves: bool = False) -> None:
        channel = self.channels[channel_id]
        first = channel.head + 1
        channel.head += count
        if not channel.member:
            channel.member, channel.joined_seq = True, first
        channel.visible += range(first, channel.head + 1)
        channel.member = not leaves
        self.feed += 1
        self.announced[self.feed] = (channel_id, channel.head)
        channel.position = self.feed
        if self.listening:
            self.deliveries.append(Delivery(channel_id, first, count, self.feed))

    @rule(channel_id=st.sampled_from(CHANNELS), count=st.integers(1, 3))
    def something_happens(self, channel_id: str, count: int) -> None:
        self._commit(channel_id, count)

    @rule(channel_id=st.sampled_from(CHANNELS))
    def the_user_leaves(self, channel_id: str) -> None:
        if self.channels[channel_id].member:
            self._commit(channel_id, 1, leaves=True)

    @rule(channel_id=st.sampled_from(CHANNELS), count=st.integers(1, 3))
    def others_go_on_without_the_user(self, channel_id: str, count: int) -> None:
        if not self.channels[channel_id].member:
            self.channels[channel_id].head += count

    # The stream

    @precondition(lambda self: self.session.phase is Phase.AWAITING_HELLO)
    @rule()
    def hello(self) -> None:
        self.session.hello()
        self.listening = True

    @precondition(lambda self: self.session.phase is Phase.JOINING)
    @rule()
    def read_the_heads(self) -> None:
        heads = {name: channel.head for name, channel in self.channels.items() if channel.member}
        self.snapshot = (self.feed, heads)

    @precondition(lambda self: self.session.phase is Phase.JOINING and self.snapshot)
    @rule()
    def join(self) -> None:
        assert self.snapshot is not None
        position, heads = self.snapshot
        self.known = dict(heads)
        self.joined_position = position
        self.session.join(position, heads.items(), {})
        assert self.session.phase is Phase.CATCHING_UP

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data(), keep=st.booleans())
    def a_delivery_comes(self, data: st.DataObject, keep: bool) -> None:
        # Within a channel in order, as one owner sends them; across channels in any.
        channel_id = data.draw(st.sampled_from(sorted({each.channel_id for each in self.deliveries})))
        delivery = next(each for each in self.deliveries if each.channel_id == channel_id)
        self._deliver(delivery, again=False)
        self.deliveries.remove(delivery)
        if keep:
            self._deliver(delivery, again=True)

    def _deliver(self, delivery: Delivery, *, again: bool) -> None:
        before = self.session.phase
        self.handed[delivery.channel_id] = delivery.first_seq + delivery.count - 1
        fields = [encoded(delivery.channel_id, delivery.first_seq + place) for place in range(delivery.count)]
        position = None if again else delivery.position
        verdict = self.session.deliver(delivery.channel_id, delivery.first_seq, fields, position)
        if before is not Phase.LIVE:
            assert verdict is Verdict.PASSED
        if verdict in (Verdict.LAGGING, Verdict.MISSING):
            assert self.session.phase is Phase.CATCHING_UP

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data())
    def a_delivery_is_lost(self, data: st.DataObject) -> None:
        self.deliveries.remove(data.draw(st.sampled_from(self.deliveries)))

    @precondition(lambda self: len(self.session.outbox) > 0)
    @rule()
    def a_frame_goes_out(self) -> None:
        frame = self.session.next_frame()
        for event in stream_pb2.ConnectResponse.FromString(frame.message).events:
            self.sent[event.channel_id].append(event.seq)
        if frame.position is not None:
            self._has_everything_up_to(frame.position)

    def _has_everything_up_to(self, position: int) -> None:
        """A device that resumes from this position misses nothing that was announced before it."""
        for announced in range(1, position + 1):
            channel_id, seq = self.announced[announced]
            channel = self.channels[channel_id]
            had = seq <= self.known.get(channel_id, 0) or announced <= self.joined_position
            # An earlier, finished membership in a channel that the device never met is not told.
            met = self.sent[channel_id] or channel_id in self.known
            if not had and (met or seq >= channel.joined_seq):
                assert seq in self.sent[channel_id] or seq < channel.joined_seq, (announced, channel_id, seq)

    @precondition(lambda self: self.session.phase is Phase.LIVE)
    @rule()
    def the_server_is_short_of_memory(self) -> None:
        self.session.lag_now()

    @precondition(lambda self: self.session.phase is Phase.LIVE)
    @rule()
    def something_is_late(self) -> None:
        self.session.suspect()

    @precondition(lambda self: self.session.phase is Phase.CATCHING_UP)
    @rule(rounds=st.integers(1, 3), interrupted=st.booleans())
    def catch_up(self, rounds: int, interrupted: bool) -> None:
        for _ in range(rounds):
            if self.session.phase is not Phase.CATCHING_UP:
                break
            self._catch_up_once(interrupted)

    def _catch_up_once(self, interrupted: bool = False) -> None:
        session = self.session
        behind, feed = session.take_behind(), self.feed
        since = session.position
        announced = [name for name in CHANNELS if self.channels[name].position > since]
        for channel_id in dict.fromkeys((*behind, *announced)):
            channel = self.channels[channel_id]
            next_seq = session.next_seq_of(channel_id)
            if next_seq is None:
                if not channel.visible:
                    continue
                next_seq = channel.joined_seq
                session.meet(channel_id, next_seq)
            for seq in [seq for seq in channel.visible if seq >= next_seq]:
                while not session.put_from_log(channel_id, seq, encoded(channel_id, seq)):
                    self.a_frame_goes_out()
        if interrupted:
            self._commit("a", 1)
            while self.deliveries:
                self._deliver(self.deliveries.pop(0), again=False)
        if session.caught_up(feed):
            for channel_id, seq in self.handed.items():
                next_seq = session.next_seq_of(channel_id)
                assert next_seq is None or next_seq > seq, "live, and something noted was not sent"

    @invariant()
    def every_channel_is_in_order_and_without_holes(self) -> None:
        for channel_id, sent in self.sent.items():
            assert sent == sorted(set(sent)), f"{channel_id}: {sent}"
            if sent:
                between = [seq for seq in self.channels[channel_id].visible if sent[0] <= seq <= sent[-1]]
                assert sent == between, f"{channel_id}: {sent}, visible {between}"
                if channel_id in self.known:
                    assert sent[0] > self.known[channel_id]

    @invariant()
    def positions_are_behind_what_was_sent(self) -> None:
        assert self.session.sent_position <= self.session.position <= self.feed

    def teardown(self) -> None:
        """In the end, when nothing is late any more, the device has everything."""
        if not hasattr(self, "session") or self.session.phase in (Phase.AWAITING_HELLO, Phase.JOINING):
            return
        self.deliveries.clear()
        self.session.suspect()
        for _ in range(5):
            if self.session.phase is Phase.LIVE:
                break
            self._catch_up_once()
        assert self.session.phase is Phase.LIVE
        while len(self.session.outbox):
            self.a_frame_goes_out()
        assert self.session.sent_position == self.feed
        for channel_id, channel in self.channels.items():
            since = max(self.known.get(channel_id, 0), channel.joined_seq - 1)
            missing = {seq for seq in channel.visible if seq > since} - set(self.sent[channel_id])
            late = channel.position <= self.joined_position
            assert late or not missing, f"{channel_id}: {missing}"


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def live(**heads: int) -> Session:
    session = Session(OutboxLimits(events=4, waiting_bytes=10_000))
    session.hello()
    session.join(0, heads.items(), {})
    assert session.caught_up(0)
    return session


def seqs(session: Session) -> list[int]:
    found: list[int] = []
    while len(session.outbox):
        frame = stream_pb2.ConnectResponse.FromString(session.next_frame().message)
        found += [event.seq for event in frame.events]
    return found


def deliver(session: Session, first_seq: int, count: int = 1, position: int | None = None) -> Verdict:
    fields = [encoded("a", seq) for seq in range(first_seq, first_seq + count)]
    return session.deliver("a", first_seq, fields, position)


def test_what_was_had_is_passed_over_also_in_part() -> None:
    """An owner that announces again starts where it must; the session takes the rest."""
    session = live(a=5)
    assert deliver(session, 4, 2) is Verdict.PASSED
    assert deliver(session, 4, 4) is Verdict.TAKEN
    assert seqs(session) == [6, 7]


def test_a_hole_is_never_passed_on() -> None:
    """The later event waits until the earlier one was read from the log. Taking it fails."""
    session = live(a=5)
    assert deliver(session, 7) is Verdict.MISSING
    assert seqs(session) == []
    assert session.take_behind() == ("a",)
    assert session.next_seq_of("a") == 6


def test_a_full_outbox_drops_its_events_and_remembers_where() -> None:
    """Bounded memory, nothing lost: what was dropped is read again. Forgetting the lowest seq fails."""
    session = live(a=5)
    assert deliver(session, 6, 4) is Verdict.TAKEN
    assert deliver(session, 10) is Verdict.LAGGING
    assert session.lag is not None
    assert (session.lag.channel_ids, session.lag.events) == (("a",), 4)
    assert seqs(session) == []
    assert session.next_seq_of("a") == 6


def test_a_channel_that_is_not_met_begins_where_the_log_says() -> None:
    """Not with whatever comes first: the event that made the user a member may have been lost. Beginning
    there left a hole, and positions beyond it: the machine above found it.
    """
    session = live()
    assert deliver(session, 9) is Verdict.MISSING
    assert seqs(session) == []
    assert session.take_behind() == ("a",)
    assert session.next_seq_of("a") is None


def test_leaving_and_joining_again() -> None:
    """What lies between is looked up in the log. Forgetting the channel with the departure sent its events a
    second time after a lag: the machine above found it.
    """
    session = live(a=5)
    deliver(session, 6)
    assert deliver(session, 9) is Verdict.MISSING
    assert session.next_seq_of("a") == 7
    assert session.take_behind() == ("a",)
    assert session.put_from_log("a", 9, encoded("a", 9))
    assert session.caught_up(0)
    assert seqs(session) == [6, 9]


def test_positions_move_only_without_holes() -> None:
    """A cursor ahead of what is held back would lose it. Taking the greatest position fails."""
    session = live(a=5)
    deliver(session, 6, position=2)
    assert session.position == 0
    assert session.waits_for_positions
    deliver(session, 7, position=1)
    assert session.position == 2
    assert not session.waits_for_positions
    assert seqs(session) == [6, 7]
    assert session.sent_position == 2


def test_an_ended_session_keeps_nothing() -> None:
    """And takes nothing."""
    session = live(a=5)
    deliver(session, 6)
    session.end()
    assert deliver(session, 7) is Verdict.PASSED
    assert len(session.outbox) == 0
    assert session.next_seq_of("a") is None
