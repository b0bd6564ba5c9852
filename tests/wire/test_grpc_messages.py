"""Messages in bodies, metadata, status, timeout: the gRPC layer without a connection."""

from __future__ import annotations

import gc
import tracemalloc
import zlib

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_wire.compression import compress
from parley_wire.headers import HeaderList
from parley_wire.messages import MessageReader, PackedMessage, compressed, in_bytes, plain, prefixed
from parley_wire.metadata import fields_of, metadata_of
from parley_wire.request import request_of
from parley_wire.response import BASIC_TRAILERS, headers_block, trailers_block
from parley_wire.status import CallFault, code_of_http, percent_decoded, percent_encoded, status_code
from parley_wire.testing.peer import REQUEST, message
from parley_wire.timeout import timeout_seconds, timeout_value

MIB = 1024 * 1024


def read(encoding: str, body: bytes) -> list[bytes]:
    """All messages of a body, unpacked."""
    return [plain(part) for part in MessageReader(MIB, encoding).feed(body)]


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_messages_come_out_however_the_body_is_cut(messages: list[bytes], data: st.DataObject) -> None:
    """The prefix too may be split. Planted: a reader that forgot a prefix of less than five bytes."""
    body = b"".join(message(part) for part in messages)
    reader = MessageReader(MIB, "identity")
    found: list[bytes | PackedMessage] = []
    while body:
        cut = data.draw(st.integers(1, max(1, min(len(body), 40))))
        found += reader.feed(body[:cut])
        body = body[cut:]
    assert found == messages
    assert reader.partial_bytes == 0


def test_the_prefix_split_over_frames() -> None:
    """Byte by byte."""
    reader = MessageReader(MIB, "identity")
    found = [reader.feed(bytes([byte])) for byte in message(b"ab")]
    assert found == [[], [], [], [], [], [], [b"ab"]]


def test_a_message_over_the_limit_is_refused_by_its_prefix() -> None:
    """Before it is collected."""
    reader = MessageReader(10, "identity")
    with pytest.raises(CallFault) as fault:
        reader.feed(message(b"x" * 11)[:5])
    assert fault.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(CallFault):
        MessageReader(10, "identity").feed(message(b"x" * 11))
    assert MessageReader(10, "identity").feed(message(b"x" * 10)) == [b"x" * 10]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_messages(encoding: str) -> None:
    """Those that say so, in both directions; a message that would grow goes as it is."""
    large = b"again " * 1000
    sent = compressed(large, encoding)
    assert sent[0] == 1 and len(sent) < 200
    assert read(encoding, sent + message(b"plain")) == [large, b"plain"]
    assert compressed(b"ab", encoding) == prefixed(b"ab")


@pytest.mark.parametrize(
    ("encoding", "body", "code"),
    [
        ("identity", message(b"x", 1), grpc.StatusCode.INTERNAL),
        ("gzip", message(b"x", 2), grpc.StatusCode.INTERNAL),
        ("gzip", message(b"no gzip", 1), grpc.StatusCode.INTERNAL),
        ("gzip", message(compress(b"cut" * 100, "gzip")[:-9], 1), grpc.StatusCode.INTERNAL),
        ("gzip", message(compress(b"x", "gzip") + b"more", 1), grpc.StatusCode.INTERNAL),
        ("gzip", message(compress(b"x" * 2 * MIB, "gzip"), 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["compressed under identity", "flag 2", "no gzip", "cut", "more behind", "bomb"],
)
def test_a_broken_message_ends_its_call(encoding: str, body: bytes, code: grpc.StatusCode) -> None:
    """With a status, never with an exception of another kind."""
    with pytest.raises(CallFault) as fault:
        read(encoding, body)
    assert fault.value.code is code


def test_a_bomb_is_not_unpacked_beyond_the_limit() -> None:
    """A gigabyte of zeros in a megabyte stays a megabyte."""
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(stream.compress(b"\0" * MIB) for _ in range(64)) + stream.flush()
    with pytest.raises(CallFault) as fault:
        read("gzip", message(bomb, 1))
    assert fault.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_compressed_messages_stay_small_until_they_are_wanted() -> None:
    """What nobody has read yet costs no more than it cost its sender. Planted: unpacked as they came, sixteen
    messages of one window were 64 MiB.
    """
    (packed,) = MessageReader(4 * MIB, "gzip").feed(message(compress(b"\0" * 4 * MIB, "gzip"), 1))
    assert isinstance(packed, PackedMessage)
    assert len(packed) < 5000
    assert plain(packed) == b"\0" * 4 * MIB


names = st.from_regex(r"[a-z][a-z0-9_.\-]{0,20}", fullmatch=True).filter(
    lambda name: not name.startswith("grpc-") and name not in ("te", "content-type", "content-length")
)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=50).map(str.strip)
pairs = st.one_of(
    st.tuples(names.filter(lambda name: not name.endswith("-bin")), texts),
    st.tuples(names.map(lambda name: name + "-bin"), st.binary(max_size=50)),
)


@given(st.lists(pairs, max_size=8))
def test_metadata_round_trip(metadata: list[tuple[str, str | bytes]]) -> None:
    """Text and binary, in order, repeated names too."""
    assert metadata_of(fields_of(metadata)) == tuple(metadata)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"AAEC", [b"\0\1\2"]),
        (b"AAE", [b"\0\1"]),
        (b"AAE=", [b"\0\1"]),
        (b"AA", [b"\0"]),
        (b"AA==", [b"\0"]),
        (b"", [b""]),
        (b"AAE,AA==, AAEC", [b"\0\1", b"\0", b"\0\1\2"]),
    ],
)
def test_binary_values_with_padding_commas_or_without(value: bytes, expected: list[bytes]) -> None:
    """Both forms of base64; values of one name may be joined by commas."""
    assert [found for _, found in metadata_of([(b"x-bin", value)])] == expected


def test_a_binary_value_that_is_no_base64_ends_its_call() -> None:
    """With a status."""
    request = request_of(HeaderList([*REQUEST, (b"x-bin", b"!!")], 0))
    assert request.fault is not None and request.fault.code is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize(
    "pair",
    [("Upper", "x"), ("", "x"), (":path", "x"), ("x", "a\nb"), ("x", "é"), ("x-bin", "text"), ("x y", "z")],
)
def test_metadata_that_cannot_be_sent_is_refused(pair: tuple[str, str | bytes]) -> None:
    """Before anything goes out."""
    with pytest.raises((ValueError, TypeError)):
        fields_of([pair])


@given(st.text(max_size=100))
def test_status_messages_round_trip(text: str) -> None:
    """Any text, as printable ASCII without space at the ends."""
    encoded = percent_encoded(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert encoded == encoded.strip()
    clean = text.encode("utf-8", "replace").decode()
    assert percent_decoded(encoded) == clean


@pytest.mark.parametrize(
    ("encoded", "text"),
    [(b"%C3%A9", "é"), (b"100%", "100%"), (b"%zz", "%zz"), (b"%ff", "�"), (b"a b", "a b")],
)
def test_status_messages_of_others(encoded: bytes, text: str) -> None:
    """Broken encoding is shown, not refused."""
    assert percent_decoded(encoded) == text


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"4m", 0.004),
        (b"5u", 5e-6),
        (b"6n", 6e-9),
        (b"99999999S", 99_999_999.0),
        (b"0m", 0.0),
        (b"100000000S", None),
        (b"S", None),
        (b"", None),
        (b"1", None),
        (b"1x", None),
        (b"-1S", None),
        (b"1.5S", None),
        (b"\xb2S", None),
    ],
)
def test_timeout_units(value: bytes, seconds: float | None) -> None:
    """All six, at most eight digits, nothing else."""
    found = timeout_seconds(value)
    assert found == (None if seconds is None else pytest.approx(seconds))


@given(st.floats(0, 1e9))
def test_a_timeout_is_never_sent_shorter(seconds: float) -> None:
    """It fits eight digits, and loses at most a little."""
    sent = timeout_seconds(timeout_value(seconds))
    assert sent is not None
    assert seconds * (1 - 1e-9) <= sent <= seconds * (1 + 1e-5) + 1e-9


def test_a_malformed_timeout_ends_its_call() -> None:
    """Rather than let it run for ever."""
    request = request_of(HeaderList([*REQUEST, (b"grpc-timeout", b"soon")], 0))
    assert request.fault is not None and request.fault.code is grpc.StatusCode.INTERNAL


def test_an_encoding_that_nobody_knows_ends_its_call() -> None:
    """UNIMPLEMENTED, with the ones that are known in grpc-accept-encoding."""
    request = request_of(HeaderList([*REQUEST, (b"grpc-encoding", b"snappy")], 0))
    assert request.fault is not None and request.fault.code is grpc.StatusCode.UNIMPLEMENTED
    assert b"identity,gzip,deflate" in trailers_block(request.fault.code, "", (), only=True)


@pytest.mark.parametrize(
    ("method", "content_type", "status"),
    [
        (b"GET", b"application/grpc", 405),
        (b"POST", b"application/json", 415),
        (b"POST", b"application/grpc-web", 415),
        (b"POST", b"application/grpc+json", 415),
        (b"POST", b"application/grpc+proto", 0),
        (b"POST", b"application/grpc;charset=utf-8", 0),
    ],
)
def test_what_is_a_grpc_request(method: bytes, content_type: bytes, status: int) -> None:
    """The rest gets an HTTP status."""
    fields = [(b":method", method), *REQUEST[1:5], (b"content-type", content_type)]
    assert request_of(HeaderList(fields, 0)).http_status == status


def test_usual_blocks_are_made_once() -> None:
    """No metadata: the same bytes each time; trailers-only carries the headers too."""
    assert trailers_block(grpc.StatusCode.OK, "", (), only=False) is BASIC_TRAILERS
    only = trailers_block(grpc.StatusCode.NOT_FOUND, "none", (), only=True)
    assert b"application/grpc" in only and b"none" in only
    assert headers_block((), "identity") is headers_block((), "identity")
    assert b"gzip" in headers_block((), "gzip")


def test_numbers_of_others() -> None:
    """A status that nobody defined is UNKNOWN; HTTP answers have their table."""
    assert status_code(b"5") is grpc.StatusCode.NOT_FOUND
    assert status_code(b"99") is status_code(b"x") is grpc.StatusCode.UNKNOWN
    assert code_of_http(503) is grpc.StatusCode.UNAVAILABLE
    assert code_of_http(418) is grpc.StatusCode.UNKNOWN


def test_a_handler_must_answer_bytes() -> None:
    """A generated registration serializes; without one, bytes are expected."""
    assert in_bytes(None, b"x") == b"x"
    with pytest.raises(TypeError, match="must be bytes"):
        in_bytes(None, "x")


def test_what_clients_make_up_is_not_remembered() -> None:
    """Long paths and names, each another: they are decoded, and leave nothing behind. Planted: a thousand of
    16 KiB each stayed for good.
    """
    gc.collect()
    tracemalloc.start()
    try:
        for at in range(300):
            made_up = b"%d" % at + b"x" * 16_000
            fields = [(n, b"/" + made_up if n == b":path" else v) for n, v in REQUEST]
            fields += [(made_up, b"1"), (b"grpc-accept-encoding", made_up)]
            request = request_of(HeaderList(fields, 0))
            assert request.path == "/" + made_up.decode()
            assert request.metadata == ((made_up.decode(), "1"),)
        del request, fields, made_up
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
