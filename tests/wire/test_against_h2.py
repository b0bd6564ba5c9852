"""The same bytes to our core and to python h2: both must take them, or both refuse."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_wire import frames, headers
from parley_wire.connection import Connection
from parley_wire.errors import ErrorCode
from parley_wire.events import DataReceived, RequestReceived, ResponseReceived, TrailersReceived
from parley_wire.limits import Limits
from parley_wire.testing.peer import REQUEST, RESPONSE

Step = tuple[str, int, int]
at = st.integers(0, 2)
size = st.sampled_from((0, 1, 100, 16_384, 16_385, 40_000))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("open"), at, st.just(0)),
        st.tuples(st.sampled_from(("client data", "server data")), at, size),
        st.tuples(st.sampled_from(("client data", "server data")), at, size),
        st.tuples(st.sampled_from(("client ends", "server ends", "client resets")), at, st.just(0)),
        st.tuples(st.just("window"), st.just(0), size),
    ),
    max_size=30,
)


def _numbered(size: int) -> bytes:
    """Bytes that do not look alike."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


class Conversation:
    """Our server and h2's client on one wire, or our client and h2's server."""

    def __init__(self, *, ours_is_client: bool) -> None:
        self.ours_is_client = ours_is_client
        self.ours = Connection(client=ours_is_client, limits=Limits())
        configuration = h2.config.H2Configuration(client_side=not ours_is_client, header_encoding=None)
        self.theirs = h2.connection.H2Connection(configuration)
        self.ours.start()
        self.theirs.initiate_connection()
        self.streams: dict[int, Any] = {}
        self.got_by_us: dict[int, bytes] = {}
        self.got_by_them: dict[int, bytes] = {}
        self.sent_by_us: dict[int, bytes] = {}
        self.sent_by_them: dict[int, bytes] = {}
        # Streams that were reset, and those on which h2 may say no more.
        self.cut: set[int] = set()
        self.they_ended: set[int] = set()
        self.exchange()

    def exchange(self) -> None:
        """Until nobody has anything to say. Neither may fail."""
        while True:
            to_us = self.theirs.data_to_send()
            to_them = self.ours.sender.take() if self.ours.sender.has_more else b""
            if not to_us and not to_them:
                return
            for event in self.ours.receive(to_us, 0.0):
                if isinstance(event, RequestReceived):
                    assert event.headers.fields == list(REQUEST)
                    self.streams[event.stream.id] = event.stream
                elif isinstance(event, DataReceived):
                    stream_id = event.stream.id
                    self.got_by_us[stream_id] = self.got_by_us.get(stream_id, b"") + event.data
                    self.ours.consumed(event.stream, len(event.data))
            assert not self.ours.failed
            for said in self.theirs.receive_data(to_them):
                if isinstance(said, h2.events.DataReceived):
                    assert said.stream_id is not None and said.data is not None
                    self.got_by_them[said.stream_id] = self.got_by_them.get(said.stream_id, b"") + said.data
                    if said.flow_controlled_length:
                        self.theirs.acknowledge_received_data(said.flow_controlled_length, said.stream_id)

    def step(self, kind: str, at: int, size: int) -> None:
        """One thing that one side does, if it may do it now: h2 forgets a stream when it is asked wrongly."""
        stream_id = 2 * at + 1
        by_client, _, what = kind.partition(" ")
        if kind == "open":
            if stream_id == self.next_id:
                self.open(stream_id)
        elif kind == "window":
            self.theirs.increment_flow_control_window(size or 1)
        elif stream_id in self.streams and stream_id not in self.cut:
            ours = (by_client == "client") == self.ours_is_client
            if what == "resets":
                self.cut.add(stream_id)
            if ours:
                self.we_do(stream_id, what, _numbered(size))
            elif stream_id not in self.they_ended:
                self.they_do(stream_id, what, b"t" * size)
        self.exchange()

    def open(self, stream_id: int) -> None:
        if self.ours_is_client:
            self.streams[stream_id] = self.ours.open_stream(headers.encode(REQUEST), end_stream=False)
        else:
            self.theirs.send_headers(stream_id, list(REQUEST))

    @property
    def next_id(self) -> int:
        return (max(self.streams) + 2) if self.streams else 1

    def we_do(self, stream_id: int, what: str, data: bytes) -> None:
        stream = self.streams[stream_id]
        if stream.local_closed or stream.ending is not None:
            return
        if what == "resets":
            self.ours.reset(stream, ErrorCode.CANCEL)
            return
        if not self.ours_is_client and stream_id not in self.sent_by_us:
            self.ours.sender.headers(stream, headers.encode(RESPONSE), end_stream=False)
            self.sent_by_us[stream_id] = b""
        if what == "data":
            self.sent_by_us[stream_id] = self.sent_by_us.get(stream_id, b"") + data
            self.ours.sender.data(stream, data)
        else:
            self.ours.sender.end(stream, b"")
            if not self.ours_is_client:
                # It also tells the client to stop, which closes the stream.
                self.they_ended.add(stream_id)

    def they_do(self, stream_id: int, what: str, data: bytes) -> None:
        if what == "resets":
            self.theirs.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
            return
        if self.ours_is_client and stream_id not in self.sent_by_them:
            self.theirs.send_headers(stream_id, list(RESPONSE))
            self.sent_by_them[stream_id] = b""
        if what == "data":
            data = data[: min(self.theirs.local_flow_control_window(stream_id), 16_384)]
            self.theirs.send_data(stream_id, data)
            self.sent_by_them[stream_id] = self.sent_by_them.get(stream_id, b"") + data
        else:
            self.theirs.end_stream(stream_id)
            self.they_ended.add(stream_id)


@pytest.mark.parametrize("ours_is_client", [False, True], ids=["our server", "our client"])
@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_a_conversation_with_h2(ours_is_client: bool, steps: list[Step]) -> None:
    """h2 checks every frame of ours and raises at the first wrong one. What one side sent the other got,
    except on streams that were cut. Planted: a large message cut one byte short was found.
    """
    conversation = Conversation(ours_is_client=ours_is_client)
    conversation.step("open", 0, 0)
    for kind, at, size in steps:
        conversation.step(kind, at, size)
    for stream_id, stream in conversation.streams.items():
        said, heard = (
            conversation.sent_by_us.get(stream_id, b""),
            conversation.got_by_them.get(stream_id, b""),
        )
        assert said.startswith(heard)
        if not stream.closed:
            assert conversation.got_by_them.get(stream_id, b"") == conversation.sent_by_us.get(stream_id, b"")
            assert conversation.got_by_us.get(stream_id, b"") == conversation.sent_by_them.get(stream_id, b"")


BYTES = {
    "window overflow": frames.window_update(0, 2**31 - 1),
    "window of nothing": frames.window_update(0, 0),
    "data on idle": frames.frame(frames.DATA, 0, 1, b"x"),
    "reset of idle": frames.rst_stream(1, 0),
    "headers on 0": frames.headers(0, headers.encode(REQUEST), end_stream=True),
    "ping of 7": frames.frame(frames.PING, 0, 0, b"1234567"),
    "settings cut": frames.frame(frames.SETTINGS, 0, 0, b"12345"),
    "push 7": frames.settings(((2, 7),)),
    "continuation alone": frames.frame(frames.CONTINUATION, 4, 1, b""),
    "goaway cut": frames.frame(frames.GOAWAY, 0, 0, b"1234567"),
    "frame too large": frames.HEAD.pack(0, 16_385, 0, 0, 1) + b"x" * 16_385,
    "padding": frames.headers(1, headers.encode(REQUEST), end_stream=False)
    + frames.frame(frames.DATA, frames.PADDED, 1, b"\x09abc"),
    "fine request": frames.headers(1, headers.encode(REQUEST), end_stream=True),
    "fine ping": frames.ping(b"12345678", ack=False),
    "unknown frame": frames.frame(0x99, 0, 0, b"hello"),
    "priority": frames.frame(frames.PRIORITY, 0, 5, b"\0\0\0\0\0"),
}


@pytest.mark.parametrize("sent", BYTES.values(), ids=BYTES.keys())
def test_both_refuse_or_both_take(sent: bytes) -> None:
    """A connection error for one is one for the other, with the same code."""
    ours = Connection(client=False, limits=Limits())
    theirs = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    start = frames.PREFACE + frames.settings(())
    ours.start()
    theirs.initiate_connection()
    ours.receive(start, 0.0)
    theirs.receive_data(start)
    ours.sender.take()
    theirs.data_to_send()
    code = None
    try:
        theirs.receive_data(sent)
    except h2.exceptions.ProtocolError as error:
        code = int(error.error_code)
    failures = [event for event in ours.receive(sent, 0.0) if not isinstance(event, _ORDINARY)]
    assert ours.failed == (code is not None), (failures, code)
    if code is not None:
        assert [int(failure.code) for failure in failures] == [code]  # type: ignore[union-attr]


_ORDINARY = (RequestReceived, ResponseReceived, TrailersReceived, DataReceived)
