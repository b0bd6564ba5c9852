"""SETTINGS, PING, GOAWAY, PRIORITY: form, acknowledgement, shutdown, floods."""

from __future__ import annotations

import pytest

from parley_wire import frames, headers
from parley_wire.errors import ErrorCode
from parley_wire.events import PingAcknowledged, RequestReceived
from parley_wire.limits import Limits
from parley_wire.meter import Meter
from parley_wire.settings import MAX_FRAME_SIZE, PROTOCOL_DEFAULTS, Settings, SettingsFault
from parley_wire.testing.peer import RESPONSE, Frame, Peer

FORM = {
    "SETTINGS on a stream": (frames.frame(frames.SETTINGS, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "SETTINGS cut": (frames.frame(frames.SETTINGS, 0, 0, b"12345"), ErrorCode.FRAME_SIZE_ERROR),
    "SETTINGS ack with payload": (frames.frame(frames.SETTINGS, 1, 0, b"1" * 6), ErrorCode.FRAME_SIZE_ERROR),
    "push 2": (frames.settings(((2, 2),)), ErrorCode.PROTOCOL_ERROR),
    "window 2**31": (frames.settings(((4, 2**31),)), ErrorCode.FLOW_CONTROL_ERROR),
    "frame size small": (frames.settings(((5, 16_383),)), ErrorCode.PROTOCOL_ERROR),
    "frame size large": (frames.settings(((5, 2**24),)), ErrorCode.PROTOCOL_ERROR),
    "PING on a stream": (frames.frame(frames.PING, 0, 1, b"12345678"), ErrorCode.PROTOCOL_ERROR),
    "PING of 7": (frames.frame(frames.PING, 0, 0, b"1234567"), ErrorCode.FRAME_SIZE_ERROR),
    "GOAWAY on a stream": (frames.frame(frames.GOAWAY, 0, 1, b"12345678"), ErrorCode.PROTOCOL_ERROR),
    "GOAWAY of 7": (frames.frame(frames.GOAWAY, 0, 0, b"1234567"), ErrorCode.FRAME_SIZE_ERROR),
    "RST_STREAM of 3": (frames.frame(frames.RST_STREAM, 0, 1, b"123"), ErrorCode.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of 3": (frames.frame(frames.WINDOW_UPDATE, 0, 0, b"123"), ErrorCode.FRAME_SIZE_ERROR),
    "PRIORITY on 0": (frames.frame(frames.PRIORITY, 0, 0, b"12345"), ErrorCode.PROTOCOL_ERROR),
    "PRIORITY of 4": (frames.frame(frames.PRIORITY, 0, 1, b"1234"), ErrorCode.FRAME_SIZE_ERROR),
    "PRIORITY on itself": (frames.frame(frames.PRIORITY, 0, 1, b"\0\0\0\1\0"), ErrorCode.PROTOCOL_ERROR),
    "too large": (frames.HEAD.pack(0, 16_385, 0, 0, 1), ErrorCode.FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize(("sent", "code"), FORM.values(), ids=FORM.keys())
def test_a_broken_frame_ends_the_connection(sent: bytes, code: ErrorCode) -> None:
    """RFC 9113, sections 4.2 and 6: GOAWAY with the code that the section names; nothing is read after it."""
    peer = Peer().shake_hands()
    assert peer.failure(peer.feed(sent)) is code
    assert peer.feed(peer.request(1)) == []


def test_settings_are_acknowledged_in_turn() -> None:
    """Section 6.5.3: once each, after they are in force."""
    peer = Peer().shake_hands()
    peer.feed(frames.settings(((MAX_FRAME_SIZE, 20_000),)), frames.settings(((0x99, 1), (4, 5))))
    assert peer.sent() == [Frame(frames.SETTINGS, frames.ACK, 0, b"")] * 2
    assert peer.connection.remote.frame_bytes == 20_000
    assert peer.connection.remote.window_bytes == 5


def test_settings_that_say_a_thing_twice() -> None:
    """Section 6.5: the last one counts."""
    changed = PROTOCOL_DEFAULTS.changed([(4, 1), (4, 2)], by_server=False)
    assert isinstance(changed, Settings) and changed.window_bytes == 2
    assert isinstance(PROTOCOL_DEFAULTS.changed([(4, 1), (2, 5)], by_server=False), SettingsFault)


def test_pings_are_echoed() -> None:
    """Section 6.7."""
    peer = Peer().shake_hands()
    peer.feed(frames.ping(b"abcdefgh", ack=False))
    assert peer.sent() == [Frame(frames.PING, frames.ACK, 0, b"abcdefgh")]
    peer.connection.ping(b"ourping!")
    assert peer.feed(frames.ping(b"ourping!", ack=True)) == [PingAcknowledged(b"ourping!")]


def test_unknown_frames_and_flags_are_ignored() -> None:
    """Section 5.5."""
    peer = Peer().shake_hands()
    assert (
        peer.feed(frames.frame(0xFE, 0xFF, 7, b"what"), frames.frame(frames.PING, 0xF0, 0, b"12345678")) == []
    )
    assert [frame.kind for frame in peer.sent()] == [frames.PING]


def test_going_away_takes_two_steps() -> None:
    """Section 6.8: the first names no stream, so that requests on their way still count; the second, once the
    peer knows, names the last. Planted: with the last stream named at once, the crossing request was lost.
    """
    peer = Peer().shake_hands()
    peer.feed(peer.request(1))
    peer.connection.shut_down()
    first, ping = peer.sent()
    assert (first.kind, first.number, first.code) == (frames.GOAWAY, 2**31 - 1, 0)
    assert isinstance(peer.feed(peer.request(3))[0], RequestReceived)
    peer.feed(frames.ping(ping.payload, ack=True))
    (last,) = peer.sent()
    assert (last.kind, last.number, last.code) == (frames.GOAWAY, 3, 0)


def test_streams_beyond_the_last_goaway_are_ignored() -> None:
    """Without a word, their data credited and the table kept in step; streams below go on."""
    peer = Peer().shake_hands()
    encode = peer.encoder.encode
    (event,) = peer.feed(peer.request(1))
    assert isinstance(event, RequestReceived)
    peer.connection.shut_down()
    peer.connection.finish_shutdown()
    peer.sent()
    later = [(b":method", b"POST"), (b"x-table", b"1")]
    assert (
        peer.feed(
            frames.headers(3, encode(later), end_stream=False),
            frames.frame(frames.DATA, 0, 3, b"x"),
            frames.window_update(3, 1),
            frames.rst_stream(3, 0),
        )
        == []
    )
    assert peer.sent() == []
    peer.connection.sender.headers(event.stream, headers.encode(RESPONSE), end_stream=False)
    assert [frame.kind for frame in peer.sent()] == [frames.HEADERS]


@pytest.mark.parametrize(
    "preface", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + b"0" * 30]
)
def test_a_client_that_speaks_something_else(preface: bytes) -> None:
    """Section 3.4."""
    peer = Peer()
    assert peer.failure(peer.feed(preface)) is ErrorCode.PROTOCOL_ERROR


def test_a_preface_in_pieces_and_without_settings() -> None:
    """Byte by byte is fine; another first frame than SETTINGS is not."""
    peer = Peer()
    for byte in frames.PREFACE:
        assert peer.feed(bytes([byte])) == []
    assert peer.failure(peer.feed(frames.ping(b"12345678", ack=False))) is ErrorCode.PROTOCOL_ERROR


FLOODS = {
    "SETTINGS": frames.settings(()),
    "SETTINGS ack": frames.SETTINGS_ACK,
    "PRIORITY": frames.frame(frames.PRIORITY, 0, 1, b"\0\0\0\0\0"),
    "WINDOW_UPDATE": frames.window_update(0, 1),
    "empty DATA": frames.frame(frames.DATA, 0, 1, b""),
    "unknown": frames.frame(0xAA, 0, 0, b""),
    "WINDOW_UPDATE on a dead stream": frames.window_update(3, 1),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_of_control_frames_ends_the_connection(flood: bytes) -> None:
    """Up to the burst they are served. Planted: with frames not counted, each of these went on for ever."""
    peer = Peer(limits=Limits(control_frames_burst=100, control_frames_per_second=1)).shake_hands()
    peer.feed(peer.request(1), peer.request(3), frames.rst_stream(3, 0))
    assert not peer.connection.failed
    events = peer.feed(flood * 50)
    assert peer.failure(events) is None
    assert peer.failure(peer.feed(flood * 100)) is ErrorCode.ENHANCE_YOUR_CALM


def test_settings_that_move_many_windows_cost_more() -> None:
    """With a thousand streams open each such frame is a thousand steps: 10,000 at once would take seconds.
    Planted: counted like any other frame, they were all carried out.
    """
    peer = Peer().shake_hands()
    for stream_id in range(1, 2000, 2):
        peer.feed(peer.request(stream_id))
    sizes = (50_000, 60_000)
    events = peer.feed(b"".join(frames.settings(((4, sizes[at % 2]),)) for at in range(1000)))
    assert peer.failure(events) is ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("late", ["on a stream that was reset", "behind the last GOAWAY"])
def test_a_flood_of_headers_that_nobody_hears_ends_the_connection(late: str) -> None:
    """They are decoded, for the table's sake, and then ignored; but not without end. Planted: they were."""
    peer = Peer().shake_hands()
    peer.feed(peer.request(1))
    if late == "behind the last GOAWAY":
        peer.connection.shut_down()
        peer.feed(frames.ping(frames.SHUTDOWN_PING, ack=True))
        flood = [peer.request(stream_id) for stream_id in range(3, 30_003, 2)]
    else:
        peer.feed(frames.window_update(1, 0))
        flood = [peer.request(1)] * 15_000
    peer.sent()
    assert peer.feed(*flood[:5000]) == []
    assert peer.failure(peer.feed(*flood[5000:])) is ErrorCode.ENHANCE_YOUR_CALM


def test_a_server_cannot_ask_for_pushes() -> None:
    """Section 6.5.2: SETTINGS_ENABLE_PUSH = 1 is for clients to say; 0 means nothing from a server."""
    assert Peer(client=True).shake_hands(((2, 0),)).connection.remote.push is False
    peer = Peer(client=True).shake_hands()
    assert peer.failure(peer.feed(frames.settings(((2, 1),)))) is ErrorCode.PROTOCOL_ERROR


def test_control_frames_at_a_fair_rate_go_on() -> None:
    """The allowance comes back with time, and with data that the peer got and has to answer."""
    limits = Limits(control_frames_burst=10, control_frames_per_second=10)
    peer = Peer(limits=limits).shake_hands(((4, 2**30),))
    for _ in range(50):
        peer.now += 1
        assert peer.failure(peer.feed(frames.window_update(0, 1) * 8)) is None
    (event,) = peer.feed(peer.request(1))
    assert isinstance(event, RequestReceived)
    for _ in range(50):
        peer.connection.sender.data(event.stream, b"x")
        assert peer.failure(peer.feed(frames.window_update(0, 100) * 2)) is None


def test_too_many_pings() -> None:
    """A keep-alive more often than needed ends the connection, as other gRPC servers do it."""
    peer = Peer(limits=Limits(pings_burst=5, pings_per_second=0.1)).shake_hands()
    for _ in range(20):
        peer.now += 10
        assert peer.failure(peer.feed(frames.ping(b"12345678", ack=False))) is None
    events = peer.feed(frames.ping(b"12345678", ack=False) * 6)
    assert peer.failure(events) is ErrorCode.ENHANCE_YOUR_CALM


def test_rapid_reset_ends_the_connection() -> None:
    """Open and reset, again and again (CVE-2023-44487)."""
    peer = Peer(limits=Limits(resets_burst=20, resets_per_second=1)).shake_hands()
    events = []
    for at in range(30):
        stream_id = 2 * at + 1
        events += peer.feed(peer.request(stream_id), frames.rst_stream(stream_id, ErrorCode.CANCEL))
    assert peer.failure(events) is ErrorCode.ENHANCE_YOUR_CALM
    assert sum(isinstance(event, RequestReceived) for event in events) == 21


def test_made_you_reset_ends_the_connection() -> None:
    """The same with resets of ours, each provoked by the client (CVE-2025-8671)."""
    peer = Peer(limits=Limits(resets_burst=20, resets_per_second=1)).shake_hands()
    events = []
    for at in range(30):
        stream_id = 2 * at + 1
        events += peer.feed(peer.request(stream_id), frames.window_update(stream_id, 0))
    assert peer.failure(events) is ErrorCode.ENHANCE_YOUR_CALM


def test_settings_cost_by_their_size() -> None:
    """A frame of thousands of settings is work for thousands. Planted: counted as one frame, a peer kept the
    core busy for seconds within its allowance.
    """
    limits = Limits(control_frames_burst=100, control_frames_per_second=1)
    large = frames.settings(((4, 65_535),) * 2700)
    peer = Peer(limits=limits).shake_hands()
    assert peer.failure(peer.feed(large)) is None
    assert peer.failure(peer.feed(large)) is ErrorCode.ENHANCE_YOUR_CALM


def test_header_fields_beyond_the_usual_cost() -> None:
    """Hundreds of one byte each are as much work as as many frames; what calls carry costs nothing.

    Planted: not counted, a peer kept the core busy for seconds.
    """
    limits = Limits(control_frames_burst=100, control_frames_per_second=1)
    peer = Peer(limits=limits).shake_hands()
    usual = tuple((b"m%d" % number, b"") for number in range(50))
    for stream_id in range(1, 200, 2):
        assert peer.failure(peer.feed(peer.request(stream_id, fields=usual))) is None
    many = tuple((b"m%d" % number, b"") for number in range(400))
    events = [
        event for stream_id in range(201, 211, 2) for event in peer.feed(peer.request(stream_id, fields=many))
    ]
    assert peer.failure(events) is ErrorCode.ENHANCE_YOUR_CALM


def test_resets_at_a_fair_rate_go_on() -> None:
    """Clients cancel calls."""
    peer = Peer(limits=Limits(resets_burst=5, resets_per_second=2)).shake_hands()
    for at in range(100):
        peer.now += 1
        stream_id = 2 * at + 1
        assert peer.failure(peer.feed(peer.request(stream_id), frames.rst_stream(stream_id, 0))) is None


def test_a_meter_gives_its_burst_then_its_rate() -> None:
    """Not twice the burst at the start. Planted: with the first filling at time 0, it did."""
    meter = Meter(3, 2.0)
    assert [meter.take(500.0) for _ in range(5)] == [True, True, True, False, False]
    assert [meter.take(501.0) for _ in range(3)] == [True, True, False]
    meter.give(100)
    assert [meter.take(501.0) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    "bad", [{"streams_per_connection": 0}, {"stream_window_bytes": 2**31}, {"connection_window_bytes": 1}]
)
def test_a_limit_that_cannot_be_used_is_refused(bad: dict[str, int]) -> None:
    """At construction, with its name."""
    with pytest.raises(ValueError, match=next(iter(bad)).split("_")[0]):
        Limits(**bad)
