"""The decisions of one stream, without a stream."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import duration_pb2
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import parley
from parley._session import Session
from parley.chat.v1 import event_pb2, message_requests_pb2, stream_pb2


def _welcome(in_flight: int = 32, heartbeat_seconds: int = 25) -> stream_pb2.ConnectResponse:
    welcome = stream_pb2.Welcome(
        session_id="s",
        limits=stream_pb2.Limits(requests_in_flight=in_flight),
        heartbeat_interval=duration_pb2.Duration(seconds=heartbeat_seconds),
    )
    return stream_pb2.ConnectResponse(controls=[stream_pb2.Control(welcome=welcome)])


def _go_away(reason: stream_pb2.GoAwayReason.ValueType, seconds: int = 0) -> stream_pb2.ConnectResponse:
    after = duration_pb2.Duration(seconds=seconds, nanos=500_000_000)
    away = stream_pb2.GoAway(reason=reason, reconnect_after=after)
    return stream_pb2.ConnectResponse(controls=[stream_pb2.Control(go_away=away)])


def _event(channel_id: str, seq: int) -> event_pb2.Event:
    return event_pb2.Event(
        channel_id=channel_id, seq=seq, message_no=seq, message=event_pb2.Message(text=f"{channel_id}{seq}")
    )


MESSAGE = message_requests_pb2.SendMessageRequest(channel_id="c", text="hello")


class Requests(RuleBasedStateMachine):
    """Requests, replies and heartbeats in any order, against a plain model of what is unanswered."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session()
        self.limit = 0
        self.open: list[int] = []
        self.used: set[int] = set()
        self.beat = 0

    @precondition(lambda self: not self.limit)
    @rule(limit=st.integers(1, 6))
    def welcome(self, limit: int) -> None:
        assert not self.session.has_room
        self.session.received(_welcome(limit))
        self.limit = max(1, limit - 2)

    @precondition(lambda self: self.limit and len(self.open) < self.limit)
    @rule()
    def ask(self) -> None:
        frame = self.session.request(send_message=MESSAGE)
        assert frame.request_id not in self.used
        assert frame.request_id > 0
        self.used.add(frame.request_id)
        self.open.append(frame.request_id)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(self.open))
        self.open.remove(request_id)
        frame = stream_pb2.ConnectResponse(replies=[stream_pb2.Reply(request_id=request_id)] * 2)
        assert [reply.request_id for reply in self.session.received(frame)] == [request_id]

    @rule(request_id=st.integers(1_000_000, 1_000_010))
    def stray_answer(self, request_id: int) -> None:
        frame = stream_pb2.ConnectResponse(replies=[stream_pb2.Reply(request_id=request_id)])
        assert not self.session.received(frame)

    @rule()
    def heartbeat(self) -> None:
        frame = self.session.heartbeat(0.0, foreground=False, answered=True)
        assert (frame is None) is bool(self.beat)
        if frame is not None:
            assert frame.request_id not in self.used
            self.used.add(frame.request_id)
            self.beat = frame.request_id

    @precondition(lambda self: self.beat)
    @rule()
    def heartbeat_answer(self) -> None:
        frame = stream_pb2.ConnectResponse(replies=[stream_pb2.Reply(request_id=self.beat)])
        assert not self.session.received(frame)
        self.beat = 0

    @invariant()
    def room_is_what_is_left(self) -> None:
        """Planted: the limit not lowered; heartbeats counted as requests."""
        assert self.session.in_flight == len(self.open)
        assert self.session.has_room is (self.limit > 0 and len(self.open) < self.limit)


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_request_ids_wrap_around_and_skip_those_in_flight() -> None:
    """uint32 on the wire, and 0 means no reply. Planted: no wrap; an id used twice at once."""
    session = Session()
    session.received(_welcome())
    assert session.request(send_message=MESSAGE).request_id == 1
    session._last_request_id = (1 << 32) - 2
    ids = [session.request(send_message=MESSAGE).request_id for _ in range(2)]
    assert ids == [(1 << 32) - 1, 2]


def test_an_unanswered_heartbeat_is_overdue_after_the_interval() -> None:
    """Planted: the time of the first heartbeat kept; a heartbeat that wants no answer awaited."""
    session = Session()
    session.received(_welcome(heartbeat_seconds=10))
    assert not session.overdue(1000.0)
    silent = session.heartbeat(0.0, foreground=True, answered=False)
    assert silent is not None
    assert (silent.request_id, silent.heartbeat.foreground) == (0, True)
    assert not session.overdue(1000.0)
    beat = session.heartbeat(100.0, foreground=True, answered=True)
    assert beat is not None
    assert not session.overdue(110.0)
    assert session.overdue(110.1)
    session.received(stream_pb2.ConnectResponse(replies=[stream_pb2.Reply(request_id=beat.request_id)]))
    assert not session.overdue(1000.0)


def test_heads_are_kept_up_to_date_and_never_go_back() -> None:
    """A digest may be older than an event. Planted: a digest overwrites."""
    session = Session()
    session.received(stream_pb2.ConnectResponse(events=[_event("c", 9)]))
    head = stream_pb2.ChannelHead(
        channel_id="c", head_seq=7, head_message_no=7, read_seq=3, read_message_no=2
    )
    digest = stream_pb2.Control(digest=stream_pb2.Digest(heads=[head]))
    session.received(stream_pb2.ConnectResponse(controls=[digest]))
    assert session.heads["c"] == parley.ChannelHead("c", 9, 9, 3, 2)
    for seq, message_no, expected in ((5, 4, (5, 4)), (4, 3, (5, 4))):
        position = stream_pb2.ReadPosition(channel_id="c", read_seq=seq, read_message_no=message_no)
        session.received(stream_pb2.ConnectResponse(controls=[stream_pb2.Control(read_position=position)]))
        assert (session.heads["c"].read_seq, session.heads["c"].read_message_no) == expected
    session.received(stream_pb2.ConnectResponse(events=[_event("c", 10)]))
    assert session.heads["c"] == parley.ChannelHead("c", 10, 10, 5, 4)


@pytest.mark.parametrize("number", stream_pb2.GoAwayReason.values())
def test_a_go_away_names_the_end_and_closes_the_door(number: stream_pb2.GoAwayReason.ValueType) -> None:
    """Its reason wins over the status. Planted: requests still sent after it."""
    session = Session()
    session.received(_welcome())
    session.received(_go_away(number, seconds=3))
    assert not session.has_room
    error = session.ended(parley.Unreachable("cut", code=grpc.StatusCode.UNAVAILABLE))
    assert error.reason == stream_pb2.GoAwayReason.Name(number).removeprefix("GO_AWAY_REASON_")
    assert error.retry_after_seconds == 3.5
    advice = {
        "ACCOUNT_SUSPENDED": "give up",
        "DEVICE_REVOKED": "reauthenticate",
        "LEASE_EXPIRED": "resync",
        "SLOW_READER": "resync",
    }
    assert error.advice.value == advice.get(error.reason, "retry")


def test_a_go_away_of_the_future_has_a_number_for_a_name() -> None:
    """Planted: ValueError for a number that is not known."""
    session = Session()
    session.received(_go_away(stream_pb2.GoAwayReason.ValueType(99)))
    assert session.ended(None).reason == "GO_AWAY_99"


@pytest.mark.parametrize(
    ("failure", "reason", "advice"),
    [
        (None, "STREAM_ENDED", parley.Advice.RETRY),
        (parley.Unreachable("x", code=grpc.StatusCode.UNAVAILABLE), "CONNECTION_LOST", parley.Advice.RETRY),
        (
            parley.TokenExpired("x", code=grpc.StatusCode.UNAUTHENTICATED, reason="TOKEN_EXPIRED"),
            "TOKEN_EXPIRED",
            parley.Advice.RETRY,
        ),
        (
            parley.DeviceRevoked("x", code=grpc.StatusCode.UNAUTHENTICATED, reason="DEVICE_REVOKED"),
            "DEVICE_REVOKED",
            parley.Advice.REAUTHENTICATE,
        ),
        (
            parley.MalformedFrame("x", code=grpc.StatusCode.INVALID_ARGUMENT, reason="MALFORMED_FRAME"),
            "MALFORMED_FRAME",
            parley.Advice.GIVE_UP,
        ),
        (parley.ParleyError("x", code=grpc.StatusCode.INTERNAL), "CONNECTION_LOST", parley.Advice.RETRY),
    ],
)
def test_an_end_without_go_away(
    failure: parley.ParleyError | None, reason: str, advice: parley.Advice
) -> None:
    """The reader is always told why. Planted: an empty reason; an expired token that asks for a log-in."""
    error = Session().ended(failure)
    assert (error.reason, error.advice) == (reason, advice)
