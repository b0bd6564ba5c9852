"""HEADERS and CONTINUATION: blocks stay whole, bounded, and the tables of both ends in step."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_wire import frames, headers
from parley_wire.errors import ErrorCode
from parley_wire.events import RequestReceived, ResponseReceived, StreamEnded, TrailersReceived
from parley_wire.limits import Limits
from parley_wire.testing.peer import REQUEST, RESPONSE, Peer, padded

token = st.from_regex(rb"[a-z][a-z0-9\-]{0,30}", fullmatch=True)
text = st.binary(max_size=100)
long_text = st.one_of(text, st.sampled_from((126, 127, 128, 254, 255, 16_000)).map(lambda size: b"v" * size))


@given(st.lists(st.tuples(token, long_text), max_size=10))
def test_what_we_encode_hpack_decodes(fields: list[tuple[bytes, bytes]]) -> None:
    """Planted: a prefix integer that ended one byte early was found."""
    decoded = hpack.Decoder(max_header_list_size=2**20).decode(headers.encode(fields), raw=True)
    assert [tuple(field) for field in decoded] == fields


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.tuples(token, text), max_size=6), max_size=5))
def test_what_hpack_encodes_we_decode(blocks: list[list[tuple[bytes, bytes]]]) -> None:
    """Whole sequences, so that the dynamic table and the memory for repeated blocks take part."""
    encoder = hpack.Encoder()
    decoder = headers.HeaderDecoder(2**20)
    for fields in [*blocks, *blocks, *blocks]:
        assert decoder.decode(encoder.encode(fields)).fields == fields


def test_a_repeated_block_means_what_the_table_says_now() -> None:
    """A block of indexed fields only is remembered, until a block that changes the table comes between.

    Planted: with the memory kept over such a block, the old value came back.
    """
    encoder = hpack.Encoder()
    decoder = headers.HeaderDecoder(4096)
    decoder.decode(encoder.encode([(b"x", b"old")]))
    block = encoder.encode([(b"x", b"old")])
    assert decoder.decode(block).fields == [(b"x", b"old")]
    decoder.decode(encoder.encode([(b"y", b"new")]))
    assert decoder.decode(block).fields == [(b"y", b"new")]


def test_the_same_field_again_is_a_change_of_the_table() -> None:
    """A full table takes a field that it has already, and drops its oldest one for it. Planted: told by the
    newest entry, which stays the same object where fields are shared; found by what the table held then.
    """
    decoder = headers.HeaderDecoder(2**16)

    def entered(value: bytes) -> bytes:
        # A literal with the name of entry 4, :path, that enters the table (RFC 7541, section 6.2.1).
        above = len(value) - 127
        return b"\x44\x7f" + bytes((above & 0x7F | 0x80, above >> 7)) + value

    old, new = b"/" + b"o" * 450, b"/" + b"n" * 450
    # Eight of them fill a table of 4096 bytes.
    for value in (*[old] * 7, new):
        decoder.decode(entered(value))
    third = b"\xc0"
    assert decoder.decode(third).fields == [(b":path", old)]
    decoder.decode(entered(new))
    decoder.decode(entered(new))
    assert decoder.decode(third).fields == [(b":path", new)]


def test_blocks_of_refused_streams_are_decoded() -> None:
    """The table must stay in step. Planted: with the decoding skipped, the next request was not readable."""
    peer = Peer(limits=Limits(streams_per_connection=1)).shake_hands()
    encode = peer.encoder.encode
    peer.feed(frames.headers(1, encode(REQUEST), end_stream=False))
    refused = peer.feed(frames.headers(3, encode([*REQUEST, (b"x-later", b"1")]), end_stream=True))
    assert refused == []
    assert [frame.code for frame in peer.sent()] == [ErrorCode.REFUSED_STREAM]
    peer.feed(frames.rst_stream(1, ErrorCode.CANCEL))
    (event,) = peer.feed(frames.headers(5, encode([*REQUEST, (b"x-later", b"1")]), end_stream=True))
    assert isinstance(event, RequestReceived)
    assert (b"x-later", b"1") in event.headers.fields


def test_blocks_of_reset_streams_are_decoded() -> None:
    """Trailers that come after our reset still change the table."""
    peer = Peer().shake_hands()
    encode = peer.encoder.encode
    (event,) = peer.feed(frames.headers(1, encode(REQUEST), end_stream=False))
    assert isinstance(event, RequestReceived)
    peer.connection.reset(event.stream, ErrorCode.CANCEL)
    assert peer.feed(frames.headers(1, encode([(b"x-late", b"1")]), end_stream=True)) == []
    (event,) = peer.feed(frames.headers(3, encode([*REQUEST, (b"x-late", b"1")]), end_stream=True))
    assert isinstance(event, RequestReceived)
    assert (b"x-late", b"1") in event.headers.fields


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_block_over_continuations(cut: int) -> None:
    """However a block is cut, it is one request."""
    peer = Peer().shake_hands()
    block = headers.encode(REQUEST)
    parts = [block[at : at + cut] for at in range(0, len(block), cut)][:14]
    parts.append(block[sum(map(len, parts)) :])
    sent = frames.frame(frames.HEADERS, frames.END_STREAM, 1, parts[0])
    for part in parts[1:-1]:
        sent += frames.frame(frames.CONTINUATION, 0, 1, part)
    sent += frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, parts[-1])
    (event,) = peer.feed(sent)
    assert isinstance(event, RequestReceived)
    assert event.headers.fields == list(REQUEST)
    assert event.end_stream


@pytest.mark.parametrize(
    "between",
    [
        frames.ping(b"12345678", ack=False),
        frames.frame(frames.DATA, 0, 1, b""),
        frames.frame(frames.CONTINUATION, frames.END_HEADERS, 3, b""),
        frames.frame(0x77, 0, 1, b""),
    ],
)
def test_nothing_comes_between_headers_and_continuation(between: bytes) -> None:
    """RFC 9113, section 6.10."""
    peer = Peer().shake_hands()
    begun = frames.frame(frames.HEADERS, 0, 1, headers.encode(REQUEST))
    assert peer.failure(peer.feed(begun, between)) is ErrorCode.PROTOCOL_ERROR


def test_a_continuation_flood_ends_the_connection() -> None:
    """Many small ones, empty ones too, and few large ones: both counts are bounded."""
    for part in (b"", b"x" * 16_000):
        peer = Peer(limits=Limits(continuation_frames=5, header_block_bytes=20_000)).shake_hands()
        events = peer.feed(frames.frame(frames.HEADERS, 0, 1, b""))
        for _ in range(6):
            events += peer.feed(frames.frame(frames.CONTINUATION, 0, 1, part))
        assert peer.failure(events) is ErrorCode.ENHANCE_YOUR_CALM


def test_a_header_bomb_is_not_unpacked() -> None:
    """One byte for each repetition of a large entry: the decoder stops at its bound."""
    peer = Peer(limits=Limits(header_list_hard_bytes=16_384)).shake_hands()
    bomb = peer.encoder.encode([(b"x", b"y" * 3000)]) + b"\xbe" * 10_000
    assert peer.failure(peer.feed(frames.headers(1, bomb, end_stream=True))) is ErrorCode.ENHANCE_YOUR_CALM


def test_a_list_over_the_limit_costs_the_stream_only() -> None:
    """Its owner learns that it is too large; the connection and its table go on."""
    peer = Peer(limits=Limits(header_list_bytes=1000)).shake_hands()
    (event,) = peer.feed(peer.request(1, fields=((b"x", b"y" * 1000),)))
    assert isinstance(event, RequestReceived) and event.too_large
    (event,) = peer.feed(peer.request(3))
    assert isinstance(event, RequestReceived) and not event.too_large


def test_a_block_that_cannot_be_decoded_ends_the_connection() -> None:
    """Section 4.3: the tables differ from here on."""
    peer = Peer().shake_hands()
    events = peer.feed(frames.headers(1, b"\xff\xff\xff\xff\xff", end_stream=True))
    assert peer.failure(events) is ErrorCode.COMPRESSION_ERROR


def test_a_smaller_table_is_acknowledged_in_the_next_block() -> None:
    """RFC 7541, section 4.2: hpack, told of the smaller table, refuses a block without the update."""
    peer = Peer().shake_hands(((1, 0),))
    (event,) = peer.feed(peer.request(1, end_stream=True))
    assert isinstance(event, RequestReceived)
    peer.connection.sender.headers(event.stream, headers.encode(RESPONSE), end_stream=True)
    (sent,) = peer.sent()
    peer.decoder.max_allowed_table_size = 0
    assert [tuple(field) for field in peer.decoder.decode(sent.payload, raw=True)] == list(RESPONSE)


def test_a_size_update_beyond_what_we_allow_ends_the_connection() -> None:
    """We allow 4,096 bytes."""
    peer = Peer().shake_hands()
    events = peer.feed(frames.headers(1, b"\x3f\xe2\x7f" + headers.encode(REQUEST), end_stream=True))
    assert peer.failure(events) is ErrorCode.COMPRESSION_ERROR


MALFORMED = {
    "upper case": (*REQUEST, (b"X-Up", b"1")),
    "space in name": (*REQUEST, (b"x y", b"1")),
    "empty name": (*REQUEST, (b"", b"1")),
    "newline in value": (*REQUEST, (b"x", b"a\nb")),
    "nul in value": (*REQUEST, (b"x", b"a\0b")),
    "connection": (*REQUEST, (b"connection", b"close")),
    "te gzip": (*REQUEST[:4], (b"te", b"gzip")),
    "pseudo after regular": (*REQUEST[1:], REQUEST[0]),
    "unknown pseudo": ((b":x", b"1"), *REQUEST),
    "status in request": ((b":status", b"200"), *REQUEST),
    "repeated": (REQUEST[0], *REQUEST),
    "no method": REQUEST[1:],
    "no path": (*REQUEST[:2], *REQUEST[3:]),
    "empty path": (*REQUEST[:2], (b":path", b""), *REQUEST[3:]),
    "bad content-length": (*REQUEST, (b"content-length", b"x")),
    "two content-lengths": (*REQUEST, (b"content-length", b"1"), (b"content-length", b"2")),
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_is_reset(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    """RFC 9113, sections 8.1 to 8.3: a stream error, and the next request is served."""
    peer = Peer().shake_hands()
    assert peer.feed(frames.headers(1, headers.encode(fields), end_stream=False)) == []
    assert [frame.code for frame in peer.sent()] == [ErrorCode.PROTOCOL_ERROR]
    assert isinstance(peer.feed(peer.request(3))[0], RequestReceived)


def test_a_remembered_request_block_is_no_trailers_block() -> None:
    """A block that passed as a request is checked again as trailers. Planted: with one memory for both
    checks, pseudo-headers passed as trailers.
    """
    peer = Peer().shake_hands()
    block = b"".join(headers.encode([field]) for field in REQUEST[:1]) + b"\x84\x86"
    first = peer.feed(frames.headers(1, block, end_stream=False))
    again = peer.feed(frames.headers(3, block, end_stream=False))
    assert isinstance(first[0], RequestReceived) and isinstance(again[0], RequestReceived)
    events = peer.feed(frames.headers(3, block, end_stream=True))
    assert peer.cut(events, 3) is ErrorCode.PROTOCOL_ERROR


def test_trailers_must_end_the_stream() -> None:
    """Section 8.1."""
    peer = Peer().shake_hands()
    events = peer.feed(peer.request(1), frames.headers(1, headers.encode([(b"x", b"1")]), end_stream=False))
    assert peer.cut(events) is ErrorCode.PROTOCOL_ERROR


def test_a_padded_block_with_priority() -> None:
    """Section 6.2: both are skipped; more padding than payload is a connection error."""
    peer = Peer().shake_hands()
    flags = frames.END_HEADERS | frames.PRIORITY_FIELDS
    block = b"\0\0\0\0\x10" + headers.encode(REQUEST)
    (event,) = peer.feed(padded(frames.HEADERS, flags, 1, block, 9))
    assert isinstance(event, RequestReceived) and event.headers.fields == list(REQUEST)
    bad = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.PADDED, 3, b"\x05abc")
    assert peer.failure(peer.feed(bad)) is ErrorCode.PROTOCOL_ERROR


def test_a_long_block_of_ours_goes_over_continuations() -> None:
    """No frame is larger than 16,384 bytes."""
    peer = Peer().shake_hands()
    (event,) = peer.feed(peer.request(1, end_stream=True))
    assert isinstance(event, RequestReceived)
    fields = [*RESPONSE, (b"x", b"y" * 40_000)]
    peer.connection.sender.headers(event.stream, headers.encode(fields), end_stream=True)
    sent = peer.sent()
    assert [frame.kind for frame in sent] == [frames.HEADERS, frames.CONTINUATION, frames.CONTINUATION]
    assert sent[-1].flags == frames.END_HEADERS
    block = b"".join(frame.payload for frame in sent)
    assert len(list(hpack.Decoder().decode(block, raw=True))) == 3


@pytest.mark.parametrize(
    ("flags", "payload", "code"),
    [
        (frames.PADDED, b"", ErrorCode.FRAME_SIZE_ERROR),
        (frames.PRIORITY_FIELDS, b"\0\0\0\0", ErrorCode.FRAME_SIZE_ERROR),
        (frames.PADDED | frames.PRIORITY_FIELDS, b"\0\0\0\0\0", ErrorCode.FRAME_SIZE_ERROR),
        (frames.PRIORITY_FIELDS, b"\x80\0\0\1\0", ErrorCode.PROTOCOL_ERROR),
        (frames.PADDED, b"\5abcd", ErrorCode.PROTOCOL_ERROR),
        (frames.PADDED | frames.PRIORITY_FIELDS, b"\2\0\0\0\0\0x", ErrorCode.PROTOCOL_ERROR),
    ],
    ids=["no length", "no priority", "neither", "its own parent", "padding", "padding and priority"],
)
def test_headers_that_lie_about_themselves(flags: int, payload: bytes, code: ErrorCode) -> None:
    """Section 6.2: fields that are not there, padding beyond the frame, a stream that depends on itself."""
    peer = Peer().shake_hands()
    events = peer.feed(frames.frame(frames.HEADERS, flags | frames.END_HEADERS, 1, payload))
    assert peer.failure(events) is code


def test_trailers_before_the_body_has_its_length() -> None:
    """Section 8.1.1: the content-length that the request named is missing something."""
    peer = Peer().shake_hands()
    peer.feed(peer.request(1, fields=((b"content-length", b"5"),)), frames.frame(frames.DATA, 0, 1, b"abc"))
    trailers = frames.headers(1, headers.encode([(b"x", b"y")]), end_stream=True)
    assert peer.cut(peer.feed(trailers)) is ErrorCode.PROTOCOL_ERROR


def test_connect_is_well_formed_without_a_path() -> None:
    """Section 8.5: with :authority, and nothing else of that kind."""
    peer = Peer().shake_hands()
    connect = [(b":method", b"CONNECT"), (b":authority", b"localhost:1")]
    (event,) = peer.feed(frames.headers(1, headers.encode(connect), end_stream=False))
    assert isinstance(event, RequestReceived)
    wrong = headers.encode([*connect, (b":path", b"/")])
    assert peer.cut(peer.feed(frames.headers(3, wrong, end_stream=False)), 3) is None
    assert 3 not in peer.connection.streams.open


def test_many_different_blocks_are_not_all_remembered() -> None:
    """The memory for repeated blocks is small, and what it forgot is decoded again."""
    decoder = headers.HeaderDecoder(4096)
    blocks = [headers.encode([(b"x", str(at).encode())]) for at in range(100)]
    for at, block in [*enumerate(blocks), *enumerate(blocks)]:
        assert decoder.decode(block).fields == [(b"x", str(at).encode())]
    assert len(decoder._memory or ()) <= 16


class TestResponses:
    """What a client gets."""

    def opened(self) -> Peer:
        peer = Peer(client=True).shake_hands()
        peer.connection.open_stream(headers.encode(REQUEST), end_stream=True)
        peer.sent()
        return peer

    def test_informational_final_data_trailers(self) -> None:
        """Section 8.1: in this order."""
        peer = self.opened()
        events = peer.feed(
            frames.headers(1, headers.encode([(b":status", b"103")]), end_stream=False),
            frames.headers(1, headers.encode(RESPONSE), end_stream=False),
            frames.headers(1, headers.encode([(b"grpc-status", b"0")]), end_stream=True),
        )
        assert [type(event) for event in events] == [ResponseReceived, ResponseReceived, TrailersReceived]

    @pytest.mark.parametrize(
        "fields", [[(b"x", b"1")], [(b":status", b"20")], [(b":path", b"/")], [(b":status", b"200")] * 2]
    )
    def test_malformed(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Section 8.3.2."""
        peer = self.opened()
        events = peer.feed(frames.headers(1, headers.encode(fields), end_stream=False))
        assert peer.cut(events) is ErrorCode.PROTOCOL_ERROR

    def test_an_informational_response_is_not_the_end(self) -> None:
        """Section 8.1."""
        peer = self.opened()
        events = peer.feed(frames.headers(1, headers.encode([(b":status", b"100")]), end_stream=True))
        assert peer.cut(events) is ErrorCode.PROTOCOL_ERROR

    def test_headers_behind_the_end(self) -> None:
        """On a stream that the server ended while we still send: STREAM_CLOSED (section 5.1)."""
        peer = Peer(client=True).shake_hands()
        peer.connection.open_stream(headers.encode(REQUEST), end_stream=False)
        peer.feed(
            frames.headers(1, headers.encode(RESPONSE), end_stream=False),
            frames.headers(1, headers.encode([(b"grpc-status", b"0")]), end_stream=True),
        )
        late = frames.headers(1, headers.encode([(b"x", b"y")]), end_stream=True)
        assert peer.cut(peer.feed(late)) is ErrorCode.STREAM_CLOSED

    def test_headers_on_a_stream_that_nobody_opened(self) -> None:
        """The server cannot open streams."""
        peer = self.opened()
        events = peer.feed(frames.headers(3, headers.encode(RESPONSE), end_stream=False))
        assert peer.failure(events) is ErrorCode.PROTOCOL_ERROR

    def test_data_before_headers(self) -> None:
        """Section 8.1."""
        peer = self.opened()
        assert peer.cut(peer.feed(frames.frame(frames.DATA, 0, 1, b"x"))) is ErrorCode.PROTOCOL_ERROR

    def test_push_is_refused(self) -> None:
        """We said SETTINGS_ENABLE_PUSH = 0."""
        peer = self.opened()
        events = peer.feed(frames.frame(frames.PUSH_PROMISE, frames.END_HEADERS, 1, b"\0\0\0\2"))
        assert peer.failure(events) is ErrorCode.PROTOCOL_ERROR

    def test_a_reset_is_told(self) -> None:
        """With its code; an unknown one counts as INTERNAL_ERROR (section 7)."""
        peer = self.opened()
        (event,) = peer.feed(frames.rst_stream(1, 0x999))
        assert isinstance(event, StreamEnded) and event.remote
        assert event.code is ErrorCode.INTERNAL_ERROR
