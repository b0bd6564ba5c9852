"""Bytes that are no request: the documented error, nothing stored, and nobody else notices."""

from __future__ import annotations

import pytest

from parley.channel.v1 import channel_service_pb2 as channels
from parley_server.testing.raw_client import Person, RawClient, outcome_of, uuid7

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEND = "/parley.chat.v1.ChatService/SendMessage"
MALFORMED = ("INVALID_ARGUMENT", "MALFORMED_FRAME")


def _field(number: int, encoded: bytes) -> bytes:
    assert len(encoded) < 128
    return bytes([number << 3 | 2, len(encoded)]) + encoded


def _send_bytes(channel_id: str, text: bytes) -> bytes:
    return _field(1, channel_id.encode()) + _field(2, uuid7().encode()) + _field(3, text)


NOT_UTF8 = {
    "lone-byte": b"\xff",
    "cut-sequence": "한".encode()[:2],
    "overlong": b"\xc0\xaf",
    "surrogate": b"\xed\xa0\x80",
    "surrogate-pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond-unicode": b"\xf4\x90\x80\x80",
    "euc-kr": "한글".encode("euc-kr"),
}


@pytest.mark.parametrize("kind", NOT_UTF8)
async def test_text_that_is_not_utf8(client: RawClient, talk: tuple[Person, Person, str], kind: str) -> None:
    """MALFORMED_FRAME by unary call; on a stream it ends that stream alone.

    Planted once: with the decoder's error not caught the unary answer was INTERNAL.
    """
    alice, _, channel_id = talk
    encoded = _send_bytes(channel_id, b"before " + NOT_UTF8[kind])
    assert (await outcome_of(client.raw(SEND, encoded, alice))).brief == MALFORMED
    stream = await client.connect(alice)
    await stream.send_bytes(b"\x08\x01" + _field(3, encoded))
    assert (await stream.end()).brief == MALFORMED
    assert (await client.open_subscribe(alice, _field(1, _field(2, NOT_UTF8[kind]))).end()).brief == MALFORMED


@pytest.mark.parametrize(
    "encoded",
    [b"\xff", b"\x0a", b"\x0a\x05abc", b"\x0b", b"\x00", b"\x07", bytes(range(256)), b"\x80" * 20, b"{}"],
)
async def test_garbage_bytes(client: RawClient, talk: tuple[Person, Person, str], encoded: bytes) -> None:
    """What is no message at all: MALFORMED_FRAME for every unary call that it is sent to."""
    for method in (
        SEND,
        "/parley.auth.v1.AuthService/SignUp",
        "/parley.user.v1.UserService/GetUser",
        "/parley.channel.v1.ChannelService/CreateChannel",
    ):
        assert (await outcome_of(client.raw(method, encoded, talk[0]))).brief == MALFORMED, method


async def test_fields_of_a_future_client_are_passed_over(
    client: RawClient, talk: tuple[Person, Person, str]
) -> None:
    """Unknown fields are no error: a newer client talks to this node."""
    alice = talk[0]
    known = channels.CreateChannelRequest(title="future", client_channel_id=uuid7()).SerializeToString()
    method = "/parley.channel.v1.ChannelService/CreateChannel"
    outcome = await outcome_of(client.raw(method, known + b"\xf8\x07\x01" + b"\xfa\x07\x02hi", alice))
    assert outcome.brief == ("OK", "")
    for value in (3, -1, 2**31 - 1):
        unknown = channels.CreateChannelRequest(
            title="future",
            history_visibility=value,  # type: ignore[arg-type]
            client_channel_id=uuid7(),
        )
        outcome = await outcome_of(client.channels.CreateChannel(unknown, metadata=alice.metadata))
        assert outcome.violated_fields == ["history_visibility"]
