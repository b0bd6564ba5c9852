from __future__ import annotations

import pytest
from benchmarks.client_ids import client_ids
from benchmarks.clients import fields_of, send_frame_around_id
from benchmarks.figures import Case, Figure, Target, percentiles

from parley.chat.v1 import event_pb2, stream_pb2
from parley_server.chat import client_id


def test_figure_keeps_its_rounds_and_their_spread() -> None:
    figure = Figure.of("messages/s", "1/s", [3.0, 1.0, 2.0])
    assert (figure.rounds, figure.median, figure.smallest, figure.largest) == ([3.0, 1.0, 2.0], 2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("bound", "limit", "met"),
    [("at least", 2.0, True), ("at least", 2.1, False), ("at most", 2.0, True), ("at most", 1.9, False)],
)
def test_target_is_held_against_the_median(bound: str, limit: float, met: bool) -> None:
    target = Target.of("speed", bound, limit, Figure.of("speed", "", [9.0, 2.0, 1.0]))  # type: ignore[arg-type]
    assert target.met is met


def test_a_busy_generator_is_called_the_limit() -> None:
    assert Case("busy", [], [0.9, 0.95, 0.1], [1.0]).generator_is_the_limit
    assert not Case("fine", [], [0.9, 0.3, 0.2], [1.0]).generator_is_the_limit


def test_percentiles_are_in_milliseconds() -> None:
    assert percentiles([number / 1000 for number in range(1, 201)]) == pytest.approx(
        {"p50": 101.0, "p95": 191.0, "p99": 199.0, "max": 200.0}
    )


def test_frames_are_counted_without_parsing_them() -> None:
    """The counting must agree with protobuf, or deliveries would be counted wrongly: a varint cut to one
    byte fails here.
    """
    response = stream_pb2.ConnectResponse(
        events=[event_pb2.Event(actor_id="x" * size) for size in (0, 1, 127, 128, 300, 20_000)],
        replies=[stream_pb2.Reply(request_id=7)],
        controls=[stream_pb2.Control(caught_up=stream_pb2.CaughtUp())],
    )
    encoded = response.SerializeToString()
    found = [(tag, encoded[start:stop]) for tag, start, stop in fields_of(encoded)]
    expected = [(0x0A, event.SerializeToString()) for event in response.events]
    expected += [(0x1A, response.replies[0].SerializeToString())]
    expected += [(0x2A, response.controls[0].SerializeToString())]
    assert found == expected


def test_ids_are_good_and_differ() -> None:
    ids = client_ids(b"01234567")
    made = [next(ids).decode() for _ in range(70_000)]
    assert len(set(made)) == len(made)
    now_ms = client_id.time_of(made[-1])
    assert all(client_id.check("id", one, now_ms) is None for one in made[::5000])


def test_send_frame_is_whole_around_any_id() -> None:
    before, after = send_frame_around_id("c1", "héllo")
    one = next(client_ids(b"01234567"))
    request = stream_pb2.ConnectRequest.FromString(before + one + after)
    assert request.request_id == 1
    assert request.send_message.client_message_id == one.decode()
    assert (request.send_message.channel_id, request.send_message.text) == ("c1", "héllo")
