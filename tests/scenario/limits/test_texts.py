"""A message's text and attributes from both sides of their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from parley.chat.v1 import chat_service_pb2 as chat
from parley_server.testing.longest_texts import CODE_POINTS, LONGEST_TEXTS
from parley_server.testing.raw_client import Outcome, message, outcome_of
from parley_server.testing.served_log import served_head

if TYPE_CHECKING:
    from parley.chat.v1 import message_requests_pb2
    from parley_server.testing.raw_client import Person, RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

VIOLATION = ("INVALID_ARGUMENT", "INVALID_FIELD")

BLANK_TEXTS = {
    "empty": "",
    "space": " ",
    "white-space": " \t\r\n\v\f\u0085\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000",
    "zero-width": "\u200b\u200c\u200d\u2060\ufeff",
    "marks-of-direction": "\u200e\u200f\u202a\u202e\u2066\u2069\u061c",
    "hangul-filler": "\u3164",
    "hangul-fillers": "\u115f\u1160\u3164\uffa0" * 100,
    "braille-blank": "\u2800",
    "variation-selectors": "\ufe0f\ufe0e\U000e0100\u180b",
    "tags": "\U000e0020\U000e007f",
    "grapheme-joiner": "\u034f",
    "controls": "\0\x01\x1b\x7f",
    "soft-hyphen": "\u00ad",
    "long-blank": "\u3164 " * 50_000,
}


async def _refused_both_ways(
    client: RawClient, person: Person, request: message_requests_pb2.SendMessageRequest
) -> Outcome:
    """The unary refusal, having seen that the stream answers the same and goes on, and nothing is stored."""
    head = await served_head(client, person, request.channel_id)
    outcome = await outcome_of(client.chat.SendMessage(request, metadata=person.metadata))
    stream = await client.connect(person)
    reply = await stream.ask(send_message=request)
    assert reply.error == outcome.status
    await stream.barrier()
    stream.cancel()
    assert await served_head(client, person, request.channel_id) == head
    return outcome


@pytest.mark.parametrize("way", ["unary", "stream"])
@pytest.mark.parametrize("script", LONGEST_TEXTS)
async def test_the_longest_text_comes_back_byte_for_byte_on_every_path(
    client: RawClient, script: str, way: str
) -> None:
    """100,000 code points in, and the same bytes out: live on Connect and Subscribe, in each read.

    Planted once: with the text normalised to NFC on the way in, the decomposed ones came back changed.
    """
    text = LONGEST_TEXTS[script]
    assert len(text) == CODE_POINTS
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    connected, subscribed = await client.connect(bob), await client.subscribe(bob)
    request = message(channel_id, text)
    if way == "unary":
        seq = (await client.chat.SendMessage(request, metadata=alice.metadata)).seq
    else:
        sender = await client.connect(alice)
        seq = (await sender.ask(send_message=request)).send_message.seq
        sender.cancel()
    assert seq == 4

    read: dict[str, Any] = {"channel_id": channel_id}
    got = await client.chat.GetMessage(chat.GetMessageRequest(seq=seq, **read), metadata=bob.metadata)
    messages = await client.chat.ListMessages(chat.ListMessagesRequest(**read), metadata=bob.metadata)
    listed = await client.chat.ListEvents(chat.ListEventsRequest(**read), metadata=bob.metadata)
    inbox = await client.chat.GetInbox(chat.GetInboxRequest(), metadata=bob.metadata)
    for stream in (connected, subscribed):
        await stream.until(lambda stream=stream: stream.events)  # type: ignore[misc]
        assert [event.message.text for event in stream.events] == [text]
        stream.cancel()
    assert got.event.message.text == text
    assert [event.message.text for event in messages.events] == [text]
    assert [event.message.text for event in listed.events if event.HasField("message")] == [text]
    assert inbox.entries[0].last_message.message.text == text[:256]


@pytest.mark.parametrize("script", ["korean", "emoji", "combining"])
async def test_one_code_point_more_is_refused_with_a_violation(
    client: RawClient, pair: tuple[Person, Person, str], script: str
) -> None:
    """100,001 code points: the field is named, nothing is stored, the stream goes on.

    Planted once: with the limit off by one this passed as a message.
    """
    alice, _, channel_id = pair
    outcome = await _refused_both_ways(client, alice, message(channel_id, LONGEST_TEXTS[script] + "x"))
    assert outcome.brief == VIOLATION
    assert outcome.violated_fields == ["text"]
    assert "100001" in outcome.message


@pytest.mark.parametrize("blank", BLANK_TEXTS)
async def test_a_text_without_anything_visible_is_refused(
    client: RawClient, pair: tuple[Person, Person, str], blank: str
) -> None:
    """Whatever it is made of: what nobody can see is no message."""
    alice, _, channel_id = pair
    request = message(channel_id, BLANK_TEXTS[blank])
    outcome = await _refused_both_ways(client, alice, request)
    assert outcome.brief == VIOLATION
    assert outcome.violated_fields == ["text"]


@pytest.mark.parametrize("text", ["0", ".", "\u3164가\u3164", "🏳\ufe0f", "\u200bx", "\u0301", "ㅋ"])
async def test_a_text_with_one_visible_character_passes_as_sent(
    client: RawClient, pair: tuple[Person, Person, str], text: str
) -> None:
    """White space and fillers around it are kept."""
    alice, bob, channel_id = pair
    sent = await client.send(alice, channel_id, text)
    request = chat.GetMessageRequest(channel_id=channel_id, seq=sent.seq)
    got = await client.chat.GetMessage(request, metadata=bob.metadata)
    assert got.event.message.text == text


@pytest.mark.parametrize(
    ("attributes", "passes"),
    [
        pytest.param({f"k{n}": "v" for n in range(32)}, True, id="32-entries"),
        pytest.param({f"k{n}": "v" for n in range(33)}, False, id="33-entries"),
        pytest.param({"k" * 64: ""}, True, id="key-of-64-bytes"),
        pytest.param({"k" * 65: ""}, False, id="key-of-65-bytes"),
        pytest.param({"한" * 21: "글"}, True, id="korean-key-of-63-bytes"),
        pytest.param({"한" * 22: "글"}, False, id="korean-key-of-66-bytes"),
        pytest.param({"": "v"}, False, id="empty-key"),
        pytest.param({"k": "v" * 4095}, True, id="4096-bytes"),
        pytest.param({"k": "v" * 4096}, False, id="4097-bytes"),
        pytest.param({"k": "글" * 1365}, True, id="korean-4096-bytes"),
        pytest.param({"k": "글" * 1366}, False, id="korean-4099-bytes"),
    ],
)
async def test_attributes(
    client: RawClient, pair: tuple[Person, Person, str], attributes: dict[str, str], passes: bool
) -> None:
    """Counted in bytes, entries and keys; those that pass come back as they were."""
    alice, bob, channel_id = pair
    request = message(channel_id, "text", **attributes)
    if passes:
        sent = await client.chat.SendMessage(request, metadata=alice.metadata)
        get = chat.GetMessageRequest(channel_id=channel_id, seq=sent.seq)
        got = await client.chat.GetMessage(get, metadata=bob.metadata)
        assert dict(got.event.message.attributes) == attributes
    else:
        outcome = await _refused_both_ways(client, alice, request)
        assert outcome.brief == VIOLATION
        assert set(outcome.violated_fields) == {"attributes"}


async def test_every_field_that_is_wrong_is_named_at_once(
    client: RawClient, pair: tuple[Person, Person, str]
) -> None:
    """One round of corrections is enough."""
    alice, _, channel_id = pair
    request = message(channel_id, " ", **{f"k{n}": "v" * 200 for n in range(33)})
    outcome = await _refused_both_ways(client, alice, request)
    assert outcome.violated_fields == ["text", "attributes", "attributes"]
