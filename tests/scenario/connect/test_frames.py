"""Frames after Hello: of no kind, of a kind to come, refused; only the first end their stream."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from parley.chat.v1 import stream_pb2
from parley_server.testing.raw_client import Person, RawClient, message, outcome_of, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = stream_pb2.Hello()
HELLO_AGAIN = stream_pb2.ConnectRequest(hello=HELLO).SerializeToString()


@pytest.mark.parametrize(
    "encoded",
    [b"\xff", b"\x1a\x05ab", b"\x08", b"\x00", b"\x80" * 12, b"\x1a\x02\xff\xff", b"GET / HTTP/1.1\r\n"],
)
async def test_a_frame_that_cannot_be_parsed_ends_its_stream(
    client: RawClient, talk: tuple[Person, Person, str], encoded: bytes
) -> None:
    """As the first frame or later: MALFORMED_FRAME."""
    later = await client.connect(talk[0])
    first = client.open(talk[0].metadata)
    for stream in (later, first):
        await stream.send_bytes(encoded)
        assert (await stream.end()).brief == ("INVALID_ARGUMENT", "MALFORMED_FRAME")


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xfa\x01\x00", id="field-31"),
        pytest.param(b"\x32\x03abc", id="reserved-6"),
        pytest.param(b"\xf8\xff\xff\xff\x0f\x01", id="largest-field"),
    ],
)
async def test_a_request_of_a_future_client_is_unknown_and_the_stream_goes_on(
    client: RawClient, talk: tuple[Person, Person, str], request_bytes: bytes
) -> None:
    """UNKNOWN_REQUEST, once per frame that wants an answer; none for request_id 0."""
    stream = await client.connect(talk[0])
    await stream.send_bytes(request_bytes)
    await stream.send_bytes(b"\x08\x07" + request_bytes)
    reply = await stream.reply(7)
    assert (reply.error.code, reason_of(reply.error)) == (3, "UNKNOWN_REQUEST")
    await stream.barrier()
    assert 0 not in stream.replies
    stream.cancel()


async def test_request_id_0_wants_no_reply_but_is_done(
    client: RawClient, talk: tuple[Person, Person, str]
) -> None:
    """The message is written, wrong ones are refused in silence, and no reply comes for any."""
    alice, _, channel_id = talk
    stream = await client.connect(alice)
    await stream.send(send_message=message(channel_id, "no reply please"))
    await stream.send(send_message=message(channel_id, ""))
    await stream.send(mark_read={"channel_id": channel_id, "seq": 2})
    await stream.until(lambda: stream.event_seqs(channel_id) == [4])
    await stream.barrier()
    assert set(stream.replies) == {stream._next_request_id}
    stream.cancel()


async def test_an_error_on_one_request_never_ends_the_stream(
    client: RawClient, talk: tuple[Person, Person, str]
) -> None:
    """Every kind of refusal, one after the other and all at once, and then a message goes through."""
    alice, _, channel_id = talk
    stream = await client.connect(alice)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"send_message": message(channel_id, "")}, "INVALID_FIELD"),
        ({"send_message": message("nowhere")}, "CHANNEL_NOT_FOUND"),
        ({"mark_read": {"channel_id": "nowhere", "seq": 1}}, "CHANNEL_NOT_FOUND"),
        ({"mark_read": {"channel_id": channel_id, "seq": -1}}, "INVALID_FIELD"),
        ({"mark_read": {"channel_id": "", "seq": 1}}, "INVALID_FIELD"),
        ({"ack_events": {"cursor": "x"}}, "INVALID_FIELD"),
        ({"ack_events": {}}, "INVALID_FIELD"),
        ({"reauthenticate": {"access_token": "x"}}, "TOKEN_INVALID"),
        ({"reauthenticate": {}}, "TOKEN_MISSING"),
    ]
    for request_id, (request, _reason) in enumerate(wrong, start=1):
        await stream.send(request_id=request_id, **request)
    for request_id, (request, reason) in enumerate(wrong, start=1):
        assert reason_of((await stream.reply(request_id)).error) == reason, request
    assert (await stream.ask(send_message=message(channel_id))).send_message.seq == 4
    assert (await stream.ask(mark_read={"channel_id": channel_id, "seq": 2**63 - 1})).mark_read.read_seq == 4
    stream.cancel()


async def test_a_unary_refusal_and_a_streams_are_the_same_status(
    client: RawClient, talk: tuple[Person, Person, str]
) -> None:
    """Code, message and details byte for byte."""
    alice, _, channel_id = talk
    stream = await client.connect(alice)
    for request in (message(channel_id, ""), message("nowhere"), message(channel_id, "x" * 100_001)):
        unary = await outcome_of(client.chat.SendMessage(request, metadata=alice.metadata))
        reply = await stream.ask(send_message=request)
        assert unary.status is not None
        assert reply.error.SerializeToString(deterministic=True) == unary.status.SerializeToString(
            deterministic=True
        )
    stream.cancel()


async def test_everything_at_once(client: RawClient, talk: tuple[Person, Person, str]) -> None:
    """Bad streams of every kind side by side with a good one, which gets each message in order."""
    alice, bob, channel_id = talk
    good = await client.connect(bob)

    async def bad(kind: int) -> str:
        stream = client.open(alice.metadata)
        if kind % 4:
            await stream.send(hello=HELLO)
        await stream.send_bytes([b"\xff", b"\xff", HELLO_AGAIN, b"\x08\x01\x1a\x00"][kind % 4])
        if kind % 4 == 3:
            await stream.half_close()
        return (await stream.end()).reason

    async def send() -> list[int]:
        return [(await client.send(alice, channel_id, f"{number}")).seq for number in range(30)]

    reasons, seqs = await asyncio.gather(asyncio.gather(*map(bad, range(40))), send())
    assert set(reasons) == {"MALFORMED_FRAME", "HELLO_REPEATED", ""}
    await good.until(lambda: len(good.event_seqs(channel_id)) == 30)
    assert good.event_seqs(channel_id) == seqs
    good.cancel()
