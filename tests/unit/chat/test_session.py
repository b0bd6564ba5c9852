"""One device's stream: per channel strictly the next seq, nothing twice, no hole.

`test_session_model` tries whole streams; here are the single rules.
"""

from __future__ import annotations

from parley.chat.v1 import event_pb2, stream_pb2
from parley_server.chat.framing import event_field
from parley_server.chat.outbox import OutboxLimits
from parley_server.chat.session import POSITIONS_AHEAD_LIMIT, Phase, Session, Start, Verdict


def encoded(channel_id: str, seq: int) -> bytes:
    return event_field(event_pb2.Event(channel_id=channel_id, seq=seq).SerializeToString())


def live(**heads: int) -> Session:
    session = Session(OutboxLimits(events=4, waiting_bytes=10_000))
    session.hello()
    session.join(Start(0, {channel_id: head + 1 for channel_id, head in heads.items()}))
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
    there left a hole, and positions beyond it.
    """
    session = live()
    assert deliver(session, 9) is Verdict.MISSING
    assert seqs(session) == []
    assert session.take_behind() == ("a",)
    assert session.next_seq_of("a") is None


def test_leaving_and_joining_again() -> None:
    """What lies between is looked up in the log. Forgetting the channel with the departure sent its events a
    second time after a lag.
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


def test_nobody_said_how_far_the_device_is() -> None:
    """What comes first is not passed on, though it fits the head: what was written and not announced when the
    stream began may lie before it. Taking it fails.
    """
    session = Session(OutboxLimits())
    session.hello()
    session.join(Start(0, {"a": 6}, unsure=["a"]))
    assert session.caught_up(0)
    assert deliver(session, 6, position=1) is Verdict.MISSING
    assert session.take_behind() == ("a",)
    assert session.next_seq_of("a") is None
    assert session.met("a")
    session.begin("a", 7)
    assert session.caught_up(1)
    assert deliver(session, 7, position=2) is Verdict.TAKEN


def test_what_is_behind_at_the_start_is_read_first() -> None:
    session = Session(OutboxLimits())
    session.hello()
    assert deliver(session, 9) is Verdict.PASSED
    session.join(Start(4, {"a": 6, "b": 2}, behind=["b"]))
    assert session.phase is Phase.CATCHING_UP
    assert session.take_behind() == ("a", "b")


def test_a_read_position_that_comes_while_catching_up_is_read_from_the_feed() -> None:
    """It waits in no queue, and the session is not live before. Dropping it fails."""
    session = live(a=5)
    assert session.suspect()
    session.take_behind()
    assert session.put_mark(b"mark", 3) is Verdict.PASSED
    assert len(session.outbox) == 0
    assert not session.caught_up(2)
    assert session.caught_up(3)


def test_read_positions_are_bounded_like_events() -> None:
    """Another device that reads a lot must not fill this one's queue. Without the bound this fails."""
    session = live(a=5)
    for position in range(1, 5):
        assert session.put_mark(b"mark", position) is Verdict.TAKEN
    assert session.put_mark(b"mark", 5) is Verdict.LAGGING
    assert len(session.outbox) == 0
    assert session.position == 0


def test_a_lag_goes_back_to_what_was_sent() -> None:
    """A position that only the queue had brought is taken back with it."""
    session = live(a=5)
    deliver(session, 6, position=1)
    assert session.next_frame().position == 1
    deliver(session, 7, position=2)
    assert session.position == 2
    assert session.lag_now()
    assert (session.position, session.sent_position) == (1, 1)
    assert not session.lag_now()


def test_replies_are_kept_by_a_lag() -> None:
    session = live(a=5)
    deliver(session, 6, position=1)
    session.put(b"reply")
    assert session.lag_now()
    frame = session.next_frame()
    assert (frame.message, frame.position) == (b"reply", None)


def test_an_announcement_that_nobody_delivered_is_missed() -> None:
    """As a ping learns of it."""
    session = live(a=5)
    session.announced(2)
    assert session.waits_for_positions
    deliver(session, 6, position=1)
    assert session.waits_for_positions
    deliver(session, 7, position=2)
    assert not session.waits_for_positions


def test_only_a_live_session_can_be_suspected() -> None:
    """A second catching up beside the first would end the first one early."""
    session = live(a=5)
    assert session.suspect()
    assert not session.suspect()


def test_positions_that_wait_are_bounded() -> None:
    """Beyond, the feed is read."""
    session = live()
    verdicts = [session.put_mark(b"", position) for position in range(2, 3)]
    for position in range(3, POSITIONS_AHEAD_LIMIT + 3):
        session.outbox.clear()
        verdicts.append(session.put_mark(b"", position))
    assert verdicts[-1] is Verdict.MISSING
    assert verdicts.count(Verdict.MISSING) == 1


def test_the_short_way_is_taken_only_when_nothing_waits_and_nothing_is_missing() -> None:
    """It says and does what the outbox would. Taken beside something that waits it would overtake it."""
    session = live(a=5)
    fields = [encoded("a", 6), encoded("a", 7)]
    assert session.pass_on("a", 6, fields, 1) == (b"".join(fields), 1)
    assert (session.next_seq_of("a"), session.position, session.sent_position) == (8, 1, 1)
    later = [encoded("a", 8)]
    assert session.pass_on("a", 9, later, None) is None
    assert session.pass_on("a", 7, later, None) is None
    assert session.pass_on("b", 1, later, None) is None
    assert session.pass_on("a", 8, later, 3) is None
    assert session.pass_on("a", 8, later, 1) is None
    session.put(b"reply")
    assert session.pass_on("a", 8, later, 2) is None
    session.next_frame()
    assert session.pass_on("a", 8, later, 2) == (later[0], 2)
    assert session.suspect()
    assert session.pass_on("a", 9, [encoded("a", 9)], 3) is None


def test_what_is_more_than_a_frame_goes_through_the_outbox() -> None:
    session = Session(OutboxLimits(frame_bytes=20))
    session.hello()
    session.join(Start(0, {"a": 1}))
    assert session.caught_up(0)
    assert session.pass_on("a", 1, [b"x" * 10, b"x" * 11], 1) is None
    assert session.pass_on("a", 1, [b"x" * 10, b"x" * 10], 1) is not None
