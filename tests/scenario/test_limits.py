"""Every limit from both sides: what is just inside passes whole, what is just outside is refused in full."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from google.rpc import error_details_pb2

from parley.auth.v1 import auth_service_pb2 as auth
from parley.channel.v1 import channel_service_pb2 as channels
from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley.user.v1 import user_service_pb2 as users
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import (
    PASSWORD,
    Outcome,
    Person,
    RawClient,
    RawStream,
    StreamEnded,
    detail_of,
    message,
    outcome_of,
    reason_of,
    uuid7,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLANTED = Path(__file__).parent.parent / "planted"
CHEAP_PASSWORDS = PLANTED / "cheap_passwords.py"
HELD_APPENDS = PLANTED / "held_appends.py"
LIMIT = 100_000
VIOLATION = ("INVALID_ARGUMENT", "INVALID_FIELD")
RETRY_INFO = error_details_pb2.RetryInfo
QUOTA_FAILURE = error_details_pb2.QuotaFailure


def _repeated(sample: str, code_points: int = LIMIT) -> str:
    return "".join(itertools.islice(itertools.cycle(sample), code_points))


TEXTS = {
    "korean": _repeated("안녕하세요 반갑습니다. "),
    "korean-decomposed": _repeated("\u1112\u1161\u11ab\u1100\u1173\u11af"),
    "emoji": _repeated("👩\u200d👩\u200d👧\u200d👦🏳\ufe0f\u200d🌈👍🏽🇰🇷"),
    "combining": _repeated("e\u0301n\u0303a\u0308\u0323o\u0308\u0301"),
    "controls-and-far-planes": _repeated("a\0\r\n\t\ufeff\ufffe\uffff\U0010ffff\u202e\u061c"),
}

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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """A node with default limits and no rate limits."""
    node = NodeProcess(tmp_path_factory.mktemp("limits") / "node", plants=(CHEAP_PASSWORDS,))
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it."""
    async with RawClient(node.address) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(client: RawClient) -> tuple[Person, Person, str]:
    """Two people and their channel."""
    alice, bob = await client.sign_up(), await client.sign_up()
    return alice, bob, await client.direct(alice, bob)


async def _head(client: RawClient, person: Person, channel_id: str) -> int:
    request = channels.GetChannelRequest(channel_id=channel_id)
    answer = await client.channels.GetChannel(request, metadata=person.metadata)
    return int(answer.channel.head_seq)


async def _refused_both_ways(
    client: RawClient, person: Person, request: message_requests_pb2.SendMessageRequest
) -> Outcome:
    """The unary refusal, having seen that the stream answers the same and goes on, and nothing is stored."""
    head = await _head(client, person, request.channel_id)
    outcome = await outcome_of(client.chat.SendMessage(request, metadata=person.metadata))
    stream = await client.connect(person)
    reply = await stream.ask(send_message=request)
    assert reply.error == outcome.status
    await stream.barrier()
    stream.cancel()
    assert await _head(client, person, request.channel_id) == head
    return outcome


# Text


@pytest.mark.parametrize("way", ["unary", "stream"])
@pytest.mark.parametrize("script", TEXTS)
async def test_the_longest_text_comes_back_byte_for_byte_on_every_path(
    client: RawClient, script: str, way: str
) -> None:
    """100,000 code points in, and the same bytes out: live on Connect and Subscribe, in each read.

    Planted once: with the text normalised to NFC on the way in, the decomposed ones came back changed.
    """
    text = TEXTS[script]
    assert len(text) == LIMIT
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
    outcome = await _refused_both_ways(client, alice, message(channel_id, TEXTS[script] + "x"))
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


# Bytes


async def test_two_mebibytes_are_refused_with_our_status_and_the_stream_goes_on(
    client: RawClient, pair: tuple[Person, Person, str]
) -> None:
    """A request beyond 1 MiB: REQUEST_TOO_LARGE with the limit, by unary call and on a stream.

    Planted once: with the size check after the parse of the request, the unary one named the text instead.
    """
    alice, _, channel_id = pair
    request = message(channel_id, "x" * (2 << 20))
    head = await _head(client, alice, channel_id)
    unary = await outcome_of(client.chat.SendMessage(request, metadata=alice.metadata))
    assert unary.brief == ("RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE")
    info = unary.detail(error_details_pb2.ErrorInfo)
    assert info is not None
    assert info.metadata["limit_bytes"] == str(1 << 20)
    assert unary.detail(RETRY_INFO) is None
    stream = await client.connect(alice)
    reply = await stream.ask(send_message=request)
    assert reason_of(reply.error) == "REQUEST_TOO_LARGE"
    assert detail_of(reply.error, QUOTA_FAILURE) is not None
    await stream.barrier()
    stream.cancel()
    assert await _head(client, alice, channel_id) == head


async def test_five_mebibytes_end_that_call_alone(
    client: RawClient, pair: tuple[Person, Person, str]
) -> None:
    """What the transport does not take: RESOURCE_EXHAUSTED without details, and only for its sender."""
    alice, bob, channel_id = pair
    bystander = await client.connect(bob)
    request = message(channel_id, "x" * (5 << 20))
    unary = await outcome_of(client.chat.SendMessage(request, metadata=alice.metadata))
    assert unary.code.name == "RESOURCE_EXHAUSTED"
    stream = await client.connect(alice)
    await stream.send(request_id=1, send_message=request)
    assert (await stream.end()).code.name == "RESOURCE_EXHAUSTED"
    subscribed = client.open_subscribe(alice, request.SerializeToString())
    assert (await subscribed.end()).code.name == "RESOURCE_EXHAUSTED"
    sent = await client.send(alice, channel_id, "still here")
    await bystander.until(lambda: bystander.event_seqs(channel_id))
    assert bystander.event_seqs(channel_id) == [sent.seq]
    bystander.cancel()


async def test_pages_end_at_a_mebibyte_and_miss_nothing(client: RawClient) -> None:
    """Ten messages of 300 KB do not fit one page: walking the pages both ways finds each once, in order, and
    no page would meet a client's limit of 4 MiB.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    text = TEXTS["korean"]
    for _ in range(10):
        await client.send(alice, channel_id, text)
    read: dict[str, Any] = {"channel_id": channel_id, "page_size": 200}
    for kind, call in (
        (chat.ListMessagesRequest, client.chat.ListMessages),
        (chat.ListEventsRequest, client.chat.ListEvents),
    ):
        request: Any = kind(**read)
        seqs: list[int] = []
        pages = 0
        while pages == 0 or request.page_token:
            page = await call(request, metadata=bob.metadata)
            assert page.ByteSize() < (1 << 20) + 1000
            assert page.events
            seqs.extend(event.seq for event in page.events if event.HasField("message"))
            request.page_token = page.next_page_token
            pages += 1
        assert pages >= 3
        newest_first = kind is chat.ListMessagesRequest
        assert seqs == sorted(range(4, 14), reverse=newest_first)


# In flight, queues, streams


async def test_the_thirty_third_request_in_flight_is_answered_and_the_stream_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """32 sends wait for the log; the 33rd is told at once; once the log moves, all 32 are answered in order.

    Planted once: with the check removed the 33rd waited like the others, and this timed out.
    """
    data = tmp_path_factory.mktemp("flight") / "node"
    node = NodeProcess(data, {"limits.waiting_per_channel": 40}, (CHEAP_PASSWORDS, HELD_APPENDS))
    await node.start()
    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.direct(alice, bob)
        elsewhere = await client.group(bob)
        stream, bystander = await client.connect(alice), await client.connect(bob)
        (data / "HOLD").touch()
        for request_id in range(1, 41):
            await stream.send(request_id=request_id, send_message=message(channel_id, f"{request_id}"))
        for request_id in range(33, 41):
            reply = await stream.reply(request_id)
            assert reply.error.code == 8
            assert reason_of(reply.error) == "TOO_MANY_IN_FLIGHT"
            assert detail_of(reply.error, RETRY_INFO) is not None
        assert len(stream.replies) == 8
        # A request that is no send counts as well, and whoever else is there is not disturbed.
        assert reason_of((await stream.ask(heartbeat=stream_pb2.HeartbeatRequest())).error) != ""
        await bystander.barrier()
        inbox = await client.chat.GetInbox(chat.GetInboxRequest(), metadata=alice.metadata)
        assert len(inbox.entries) == 1

        # 40 writes wait for one channel: 32 of the stream's and these; one more is too many.
        more = [asyncio.ensure_future(outcome_of(client.send(bob, channel_id))) for _ in range(60)]
        async with asyncio.timeout(20):
            while sum(task.done() for task in more) < 19:
                await asyncio.wait(more, return_when=asyncio.FIRST_COMPLETED, timeout=0.1)
        refused = [task.result() for task in more if task.done()]
        assert {outcome.brief for outcome in refused} == {("RESOURCE_EXHAUSTED", "CHANNEL_BUSY")}
        assert all(outcome.detail(RETRY_INFO) for outcome in refused)

        (data / "HOLD").unlink()
        await stream.until(lambda: len(stream.replies) == 41)
        seqs = [stream.replies[request_id].send_message.seq for request_id in range(1, 33)]
        assert seqs == list(range(seqs[0], seqs[0] + 32))
        await asyncio.gather(*more)
        assert (await stream.ask(send_message=message(channel_id))).send_message.seq
        assert (await client.send(bob, elsewhere)).seq
        for open_stream in (stream, bystander):
            open_stream.cancel()
    assert await node.stop() == 0
    assert "Traceback" not in node.stderr
    await node.close()


async def test_one_stream_too_many_is_told_and_the_others_go_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """limits.streams is 2: the third gets SERVER_BUSY with RetryInfo, and a place when one has gone.

    Planted once: with `closed` not giving the place back, the fourth was never let in.
    """
    node = NodeProcess(tmp_path_factory.mktemp("streams") / "node", {"limits.streams": 2}, (CHEAP_PASSWORDS,))
    await node.start()
    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.direct(alice, bob)
        one, two = await client.connect(alice), await client.subscribe(bob)
        for third in (client.open(alice.metadata), client.open_subscribe(alice)):
            outcome = await third.end()
            assert outcome.brief == ("RESOURCE_EXHAUSTED", "SERVER_BUSY")
            assert outcome.detail(RETRY_INFO) is not None
        await one.barrier()
        sent = await client.send(alice, channel_id)
        await two.until(lambda: two.event_seqs(channel_id))
        assert two.event_seqs(channel_id) == [sent.seq]
        one.cancel()
        async with asyncio.timeout(10):
            while True:
                try:
                    fourth = await client.connect(alice)
                    break
                except StreamEnded:
                    await asyncio.sleep(0.01)
        await fourth.barrier()
        for stream in (two, fourth):
            stream.cancel()
    await node.stop()
    await node.close()


async def test_a_slow_reader_lags_and_misses_nothing_and_nobody_else_is_disturbed(
    client: RawClient, node: NodeProcess
) -> None:
    """One device stops reading while 40 messages of 400 KB come: the others get each at once. When it reads
    again it is told that it lagged, gets every message once and in order, and CaughtUp.

    Found by this: an event that did not fit beside what waited made the node spin for ever.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.group(alice, [bob])
    async with RawClient(node.address) as own_connection:
        slow = await own_connection.connect(bob)
        quick = await client.connect(bob)
        sent = []
        for number in range(40):
            answer = await client.send(alice, channel_id, TEXTS["emoji"][:-2] + f"{number:02}")
            sent.append(answer.seq)
            await quick.until(lambda seq=answer.seq: seq in quick.event_seqs(channel_id))  # type: ignore[misc]
        small = await client.send(alice, channel_id, "small")
        sent.append(small.seq)
        for stream in (slow, quick):
            await stream.until(lambda stream=stream: small.seq in stream.event_seqs(channel_id))  # type: ignore[misc]
        assert slow.event_seqs(channel_id) == sent
        assert slow.control("lagging").channel_ids == [channel_id]
        assert quick.event_seqs(channel_id) == sent
        for event, other in zip(slow.events, quick.events, strict=True):
            assert event == other
        await slow.until(lambda: sum(c.HasField("caught_up") for c in slow.controls) >= 2)
        await slow.barrier()
        after = await client.send(alice, channel_id, "live again")
        await slow.until(lambda: after.seq in slow.event_seqs(channel_id))
        for stream in (quick, slow):
            stream.cancel()


async def test_who_takes_nothing_at_all_is_let_go_and_holds_no_place(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """sessions.slow_reader_seconds is 1: a device that takes nothing for longer is ended with UNAVAILABLE
    (SLOW_READER), however late it reads that. Even one that never reads again gives its place back.

    Found by this: the place of a stream whose last bytes nobody took was held for ever.
    """
    node = NodeProcess(
        tmp_path_factory.mktemp("slow") / "node",
        {"limits.streams": 3, "sessions.slow_reader_seconds": 1, "sessions.close_seconds": 1},
        (CHEAP_PASSWORDS,),
    )
    await node.start()
    async with (
        RawClient(node.address) as client,
        RawClient(node.address) as one_connection,
        RawClient(node.address) as other_connection,
    ):
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.group(alice, [bob])
        reads_late = await one_connection.connect(bob)
        never_reads = await other_connection.connect(bob)
        bystander = await client.connect(alice)
        seqs: list[int] = []
        for number in range(20):
            seqs.append((await client.send(alice, channel_id, TEXTS["emoji"][:-2] + f"{number:02}")).seq)
            await bystander.until(lambda: seqs[-1] in bystander.event_seqs(channel_id))
        # Until the reader's place is free nobody else is let in.
        newcomers: list[RawStream] = []
        async with asyncio.timeout(20):
            while len(newcomers) < 2:
                try:
                    newcomers.append(await client.connect(bob))
                except StreamEnded as ended:
                    assert ended.outcome.reason == "SERVER_BUSY"
                    await asyncio.sleep(0.05)
        outcome = await reads_late.end()
        assert outcome.brief == ("UNAVAILABLE", "SLOW_READER")
        assert outcome.detail(RETRY_INFO) is not None
        got = reads_late.event_seqs(channel_id)
        assert got == seqs[: len(got)]
        assert bystander.event_seqs(channel_id) == seqs
        for stream in (never_reads, bystander, *newcomers):
            stream.cancel()
    assert await node.stop() == 0
    assert "Traceback" not in node.stderr
    await node.close()


# Members and names


async def test_a_group_of_a_hundred_is_full(client: RawClient) -> None:
    """99 besides the creator pass, by making and by adding; one more does not, and then nobody is added."""
    # In three parts: more at a time than auth.password_queue holds are refused.
    people = [await asyncio.gather(*(client.sign_up() for _ in range(34))) for _ in range(3)]
    owner, *others = [person for part in people for person in part]
    ids = [person.user_id for person in others]

    async def create(member_ids: list[str]) -> Any:
        request = channels.CreateChannelRequest(
            title="crowd", member_ids=member_ids, client_channel_id=uuid7()
        )
        return await client.channels.CreateChannel(request, metadata=owner.metadata)

    async def add(channel_id: str, user_ids: list[str]) -> Any:
        request = channels.AddMembersRequest(channel_id=channel_id, user_ids=user_ids)
        return await client.channels.AddMembers(request, metadata=owner.metadata)

    outcome = await outcome_of(create(ids[:100]))
    assert outcome.brief == ("RESOURCE_EXHAUSTED", "CHANNEL_FULL")
    assert outcome.detail(QUOTA_FAILURE) is not None
    assert outcome.detail(RETRY_INFO) is None
    full = (await create(ids[:99])).channel
    assert (full.member_count, full.member_limit) == (100, 100)
    assert (await outcome_of(add(full.channel_id, ids[99:100]))).reason == "CHANNEL_FULL"
    assert (await add(full.channel_id, ids[:99])).channel.member_count == 100

    small = (await create([])).channel.channel_id
    assert (await outcome_of(add(small, ids[:100]))).reason == "CHANNEL_FULL"
    assert (await outcome_of(add(small, [*ids[:5], "u" + "0" * 32]))).reason == "USER_NOT_FOUND"
    assert await _head(client, owner, small) == 2
    assert (await add(small, ids[:99])).channel.member_count == 100
    for user_ids in ([], ids[:101]):
        outcome = await outcome_of(add(small, user_ids))
        assert outcome.brief == VIOLATION
        assert outcome.violated_fields == ["user_ids"]

    seen: list[str] = []
    request = channels.ListMembersRequest(channel_id=small, page_size=7)
    while True:
        page = await client.channels.ListMembers(request, metadata=others[0].metadata)
        seen.extend(member.user_id for member in page.members)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert seen == sorted([owner.user_id, *ids[:99]])


@pytest.mark.parametrize(
    ("title", "passes"),
    [
        ("", False),
        (" \u3164\u200b", False),
        ("가" * 128, True),
        ("가" * 129, False),
        ("👩\u200d👧" * 42 + "xy", True),
    ],
)
async def test_titles(client: RawClient, pair: tuple[Person, Person, str], title: str, passes: bool) -> None:
    """1 to 128 code points, one of them visible, kept as they are."""
    request = channels.CreateChannelRequest(title=title, client_channel_id=uuid7())
    if passes:
        made = await client.channels.CreateChannel(request, metadata=pair[0].metadata)
        assert made.channel.title == title
    else:
        outcome = await outcome_of(client.channels.CreateChannel(request, metadata=pair[0].metadata))
        assert outcome.brief == VIOLATION
        assert outcome.violated_fields == ["title"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", ""),
        ("username", "a" * 65),
        ("username", "ﷺ" * 8),
        ("username", "a b"),
        ("username", "-a"),
        ("username", "a\0"),
        ("username", "\u3164"),
        ("username", "a@b"),
        ("username", "x" * 500_000),
        ("password", ""),
        ("password", "seven77"),
        ("password", "x" * 257),
        ("display_name", "가" * 65),
        ("display_name", "a\x1b[31m"),
        ("device_name", "가" * 65),
        ("device_name", "a\nb"),
    ],
)
async def test_sign_up_fields(client: RawClient, field: str, value: str) -> None:
    """Each field of SignUp is refused by its own name, and nobody is signed up."""
    request = auth.SignUpRequest(
        username=f"n{uuid.uuid4().hex[:12]}", password=PASSWORD, request_id=str(uuid.uuid4())
    )
    setattr(request, field, value)
    outcome = await outcome_of(client.auth.SignUp(request))
    assert outcome.brief == VIOLATION
    assert outcome.violated_fields == [field]
    if value:
        assert value not in outcome.message


async def test_names_that_look_the_same_are_the_same(client: RawClient) -> None:
    """NFKC and case folding: one of these names is one account, and log-in finds it by any of them."""
    stem = uuid.uuid4().hex[:8]
    made = await client.sign_up(f"Straße{stem}")
    for taken in (f"STRASSE{stem}", f"strasse{stem}", f"ＳＴＲＡＳＳＥ{stem}"):
        assert (await outcome_of(client.sign_up(taken))).brief == ("ALREADY_EXISTS", "USERNAME_TAKEN")
        assert (await client.log_in(taken)).user_id == made.user_id
    korean = await client.sign_up(f"한글{stem}")
    assert (await client.log_in(f"\u1112\u1161\u11ab\u1100\u1173\u11af{stem}")).user_id == korean.user_id


# Pages


LISTS: dict[str, Callable[..., Any]] = {
    "auth.ListDevices": auth.ListDevicesRequest,
    "users.SearchUsers": lambda **page: users.SearchUsersRequest(query="u", **page),
    "channels.ListChannels": channels.ListChannelsRequest,
    "channels.ListMembers": channels.ListMembersRequest,
    "chat.ListMessages": chat.ListMessagesRequest,
    "chat.ListEvents": chat.ListEventsRequest,
    "chat.GetInbox": chat.GetInboxRequest,
}
WITH_CHANNEL = ("channels.ListMembers", "chat.ListMessages", "chat.ListEvents")


def _token(place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


FORGED_TOKENS = [
    "x",
    "====",
    "한글",
    "\0",
    "AAAA",
    "!" * 100,
    "A" * 500_000,
    base64.urlsafe_b64encode(b"[" * 300_000).decode(),
    base64.urlsafe_b64encode(b'{"a":' * 100_000).decode(),
    base64.urlsafe_b64encode(b'["\\ud800"]').decode(),
    base64.urlsafe_b64encode(b"[1e999]").decode(),
    base64.urlsafe_b64encode(b"[" + b"9" * 5000 + b"]").decode(),
    *map(
        _token,
        (
            [],
            {},
            None,
            [None],
            [True],
            [1.5],
            [[1]],
            ["\0"],
            ["x" * 100_000],
            [-1],
            [0],
            [2**53],
            [2**63 - 1],
            [2**63],
            [-(2**63)],
            [2**64],
            [10**30],
            [1, "x"],
            [-(10**30), "x"],
            [2**63, "d" + "0" * 32],
            [-(2**63) - 1, "d" + "0" * 32],
            [2**62, "d" + "0" * 32],
            [10**30, ""],
            ["x", 1],
            [1, 2, 3],
        ),
    ),
]


async def _list(client: RawClient, name: str, pair: tuple[Person, Person, str], **page: Any) -> Any:
    stub, _, method = name.partition(".")
    if name in WITH_CHANNEL:
        page["channel_id"] = pair[2]
    call = getattr(getattr(client, stub), method)
    return await call(LISTS[name](**page), metadata=pair[0].metadata)


@pytest.mark.parametrize("name", LISTS)
async def test_forged_and_foreign_page_tokens(
    client: RawClient, pair: tuple[Person, Person, str], name: str
) -> None:
    """A token that is not the list's own is refused as a field, or names a harmless place: never a defect.

    Planted once, by the code as it was: nesting 300,000 deep and integers beyond 64 bits were INTERNAL.
    """
    alice = pair[0]
    for _ in range(2):
        await client.group(alice)
        await client.log_in(alice.username)
        await client.send(alice, pair[2])
    foreign = []
    for other in LISTS:
        page = await _list(client, other, pair, page_size=1)
        assert page.next_page_token, other
        foreign.append(page.next_page_token)
    for token in (*FORGED_TOKENS, *foreign):
        outcome = await outcome_of(_list(client, name, pair, page_token=token))
        if outcome.code.name != "OK":
            assert outcome.brief == VIOLATION, token[:60]
            assert outcome.violated_fields in (["page_token"], ["before_seq"], ["from_seq"]), token[:60]


@pytest.mark.parametrize("name", LISTS)
async def test_page_sizes(client: RawClient, pair: tuple[Person, Person, str], name: str) -> None:
    """Negative ones are refused, however negative; large ones mean 200; walking by one finds what one page
    holds.
    """
    for size in (-1, -(2**31)):
        outcome = await outcome_of(_list(client, name, pair, page_size=size))
        assert outcome.brief == VIOLATION
        assert outcome.violated_fields == ["page_size"]
    whole = await _list(client, name, pair, page_size=2**31 - 1)
    field = whole.DESCRIPTOR.fields[0].name
    at_once = list(getattr(whole, field))
    if whole.next_page_token:
        assert len(at_once) == 200
    one_by_one: list[Any] = []
    token = ""
    while len(one_by_one) < min(len(at_once), 20):
        page = await _list(client, name, pair, page_size=1, page_token=token)
        assert len(getattr(page, field)) == 1
        one_by_one.extend(getattr(page, field))
        token = page.next_page_token
    assert one_by_one == at_once[: len(one_by_one)]


# Rates


async def test_rates_say_exactly_when_to_come_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A burst of 3, then one in 5 s: RetryInfo is what is missing to the next one, for the unary call and
    the stream together; each user has his own; whoever waits as told passes.

    Planted once: with RetryInfo halved the wait was too short, with the rate kept per device the tablet
    passed.
    """
    settings = {
        "rates.send": {"per_minute": 12, "burst": 3},
        "rates.sign_up": {"per_minute": 1, "burst": 3},
        "rates.log_in": {"per_minute": 1, "burst": 2},
    }
    node = NodeProcess(tmp_path_factory.mktemp("rates") / "node", settings, (CHEAP_PASSWORDS,))
    await node.start()
    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        tablet = await client.log_in(alice.username)
        channel_id = await client.direct(alice, bob)
        stream = await client.connect(alice)
        requests = [message(channel_id, f"{number}") for number in range(4)]

        started = time.monotonic()
        await client.chat.SendMessage(requests[0], metadata=alice.metadata)
        assert (await stream.ask(send_message=requests[1])).send_message.seq
        await client.chat.SendMessage(requests[2], metadata=tablet.metadata)
        refused = await outcome_of(client.chat.SendMessage(requests[3], metadata=tablet.metadata))
        reply = await stream.ask(send_message=requests[3])
        elapsed_seconds = time.monotonic() - started
        assert refused.brief == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert refused.detail(QUOTA_FAILURE) is not None
        assert reason_of(reply.error) == "RATE_LIMITED"
        first, second = refused.detail(RETRY_INFO), detail_of(reply.error, RETRY_INFO)
        assert first is not None
        assert second is not None
        first_seconds = first.retry_delay.ToTimedelta().total_seconds()
        second_seconds = second.retry_delay.ToTimedelta().total_seconds()
        assert 5.0 - elapsed_seconds - 0.01 <= second_seconds <= first_seconds <= 5.0
        await asyncio.sleep(second_seconds)
        assert (await stream.ask(send_message=requests[3])).HasField("send_message")
        assert (await client.send(bob, channel_id)).seq

        assert (await outcome_of(client.sign_up())).code.name == "OK"
        outcome = await outcome_of(client.sign_up())
        assert outcome.brief == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        retry = outcome.detail(RETRY_INFO)
        assert retry is not None
        assert 30 < retry.retry_delay.ToTimedelta().total_seconds() <= 60
        await outcome_of(client.auth.LogIn(auth.LogInRequest()))
        outcome = await outcome_of(client.log_in(alice.username))
        assert outcome.brief == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        stream.cancel()
    await node.stop()
    await node.close()


async def test_one_user_cannot_take_every_place(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Streams of one user are bounded below those of the node, with Hello or without, and a place comes free
    with the stream. Planted once: without the bound the fifth stream was let in and waited for its Hello.
    """
    settings = {"limits.streams": 6, "limits.streams_per_user": 4}
    node = NodeProcess(tmp_path_factory.mktemp("places") / "node", settings, (CHEAP_PASSWORDS,))
    await node.start()
    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        tablet = await client.log_in(alice.username)
        held = [await client.connect(person) for person in (alice, alice, tablet, tablet)]
        refused = await client.open(alice.metadata).end()
        assert refused.brief == ("RESOURCE_EXHAUSTED", "SERVER_BUSY")
        assert refused.detail(error_details_pb2.RetryInfo) is not None
        (await client.connect(bob)).cancel()
        await held[0].send(goodbye=stream_pb2.Goodbye())
        assert (await held[0].end()).brief == ("OK", "")
        (await client.connect(tablet)).cancel()
    await node.close()
