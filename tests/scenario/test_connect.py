"""Connect from outside: frames in the wrong order or of no kind, goodbyes, clients that go away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import stream_pb2
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import (
    Person,
    RawClient,
    message,
    outcome_of,
    reason_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLANTED = Path(__file__).parent.parent / "planted"
HELLO = stream_pb2.Hello()
HELLO_AGAIN = stream_pb2.ConnectRequest(hello=HELLO).SerializeToString()
HELLO_REQUIRED = ("INVALID_ARGUMENT", "HELLO_REQUIRED")
OK = ("OK", "")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """A node with a short patience for Hello, whose log can be held."""
    node = NodeProcess(
        tmp_path_factory.mktemp("connect") / "node",
        {"sessions.hello_seconds": 1},
        (PLANTED / "cheap_passwords.py", PLANTED / "held_appends.py"),
    )
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr
    assert "never retrieved" not in node.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it."""
    async with RawClient(node.address) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def talk(client: RawClient) -> AsyncIterator[tuple[Person, Person, str]]:
    """Two people and their channel; the other's stream must not notice what is done to the one's."""
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    bystander = await client.connect(bob)
    yield alice, bob, channel_id
    sent = await client.send(bob, channel_id, "still here")
    await bystander.until(lambda: sent.seq in bystander.event_seqs(channel_id))
    assert bystander.event_seqs(channel_id) == list(range(4, sent.seq + 1))
    bystander.cancel()


# Hello


async def test_no_hello_in_time(client: RawClient, talk: tuple[Person, Person, str]) -> None:
    """hello_seconds after its start a silent stream ends; one that said Hello does not.

    Planted once: without the timer this waited for ever.
    """
    silent, polite = client.open(talk[0].metadata), await client.connect(talk[0])
    assert (await silent.end()).brief == HELLO_REQUIRED
    await polite.barrier()
    polite.cancel()


@pytest.mark.parametrize(
    "first",
    [
        pytest.param({"send_message": message("c")}, id="send"),
        pytest.param({"mark_read": {"channel_id": "c", "seq": 1}}, id="mark-read"),
        pytest.param({"heartbeat": {}}, id="heartbeat"),
        pytest.param({"ack_events": {"cursor": "x"}}, id="ack"),
        pytest.param({"pong": {}}, id="pong"),
        pytest.param({"reauthenticate": {"access_token": "x"}}, id="reauthenticate"),
        pytest.param({"goodbye": {}}, id="goodbye"),
        pytest.param({}, id="empty-frame"),
    ],
)
async def test_anything_before_hello(
    client: RawClient, talk: tuple[Person, Person, str], first: dict[str, Any]
) -> None:
    """The first frame is Hello or the stream ends, whether an answer was wanted or not."""
    for request_id in (0, 1):
        stream = client.open(talk[0].metadata)
        await stream.send(request_id=request_id, **first)
        assert (await stream.end()).brief == HELLO_REQUIRED
        assert not stream.frames


async def test_a_half_close_without_hello(client: RawClient, talk: tuple[Person, Person, str]) -> None:
    """Found by this: a stream that said nothing at all ended with OK, as if it had been served."""
    stream = client.open(talk[0].metadata)
    await stream.half_close()
    assert (await stream.end()).brief == HELLO_REQUIRED


async def test_two_hellos(client: RawClient, talk: tuple[Person, Person, str]) -> None:
    """The second one ends the stream, at once or later."""
    later = await client.connect(talk[0])
    await later.send(hello=HELLO)
    assert (await later.end()).brief == ("INVALID_ARGUMENT", "HELLO_REPEATED")
    at_once = client.open(talk[0].metadata)
    await at_once.send(hello=HELLO)
    await at_once.send(hello=HELLO)
    assert (await at_once.end()).brief == ("INVALID_ARGUMENT", "HELLO_REPEATED")


@pytest.mark.parametrize(
    ("hello", "field"),
    [
        (stream_pb2.Hello(cursor="x" * 257), "hello.cursor"),
        (stream_pb2.Hello(cursor="한" * 86), "hello.cursor"),
        (stream_pb2.Hello(client="x" * 129), "hello.client"),
        (
            stream_pb2.Hello(known_channels=[stream_pb2.KnownChannel(channel_id="c")] * 1001),
            "hello.known_channels",
        ),
        (
            stream_pb2.Hello(known_channels=[stream_pb2.KnownChannel(channel_id="c", seq=-1)]),
            "hello.known_channels.seq",
        ),
    ],
)
async def test_a_hello_beyond_its_limits(
    client: RawClient, talk: tuple[Person, Person, str], hello: stream_pb2.Hello, field: str
) -> None:
    """Its field is named, on Connect and on Subscribe. A negative seq once led to a silent hole."""
    stream = client.open(talk[0].metadata)
    await stream.send(hello=hello)
    outcome = await stream.end()
    assert outcome.brief == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert outcome.violated_fields == [field]
    request = stream_pb2.SubscribeRequest(hello=hello).SerializeToString()
    assert await client.open_subscribe(talk[0], request).end() == outcome


@pytest.mark.parametrize(
    "cursor", ["x", "1.2.3", "1.00000000.e.5", "....", "\0", "1.x.y.99999999999999999999", "한글"]
)
async def test_a_cursor_that_is_none_of_ours_resets(
    client: RawClient, talk: tuple[Person, Person, str], cursor: str
) -> None:
    """A client with a strange cursor is told so, with the heads of its channels, and not turned away."""
    stream = await client.connect(talk[0], cursor=cursor)
    assert stream.welcome.reset.reason == stream_pb2.RESET_REASON_MALFORMED
    assert [head.channel_id for head in stream.control("digest").heads] == [talk[2]]
    stream.cancel()


async def test_another_users_cursor_and_channels_open_nothing(
    client: RawClient, talk: tuple[Person, Person, str]
) -> None:
    """Naming a foreign cursor and a foreign channel gives a stranger neither heads nor events."""
    alice, _, channel_id = talk
    own, stranger = await client.connect(alice), await client.sign_up()
    known = [stream_pb2.KnownChannel(channel_id=channel_id, seq=1)]
    spy = await client.connect(stranger, cursor=own.cursor, known_channels=known)
    assert spy.welcome.reset.reason == stream_pb2.RESET_REASON_MALFORMED
    again = await client.connect(stranger, cursor=spy.cursor, known_channels=known)
    await client.send(alice, channel_id)
    for stream in (spy, again):
        await stream.barrier()
        assert not stream.events
        assert not [control for control in stream.controls if control.HasField("digest")]
        stream.cancel()
    own.cancel()


# Frames


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


# Leaving


@pytest.mark.parametrize("way", ["goodbye", "half-close"])
async def test_leaving_with_requests_in_flight_gets_all_answers_then_ok(
    node: NodeProcess, client: RawClient, talk: tuple[Person, Person, str], way: str
) -> None:
    """The node answers what is in flight and closes with OK; frames after Goodbye are not served.

    Planted once: with `_finish` ending at once, the replies were missing.
    """
    alice, bob, channel_id = talk
    stream = await client.connect(alice)
    hold = node.data / "HOLD"
    hold.touch()
    try:
        for request_id in range(1, 11):
            await stream.send(request_id=request_id, send_message=message(channel_id, f"{request_id}"))
        if way == "goodbye":
            await stream.send(goodbye=stream_pb2.Goodbye())
            await stream.send(request_id=11, send_message=message(channel_id, "too late"))
        else:
            await stream.half_close()
    finally:
        hold.unlink()
    assert (await stream.end()).brief == OK
    assert {request_id: stream.replies[request_id].send_message.seq for request_id in stream.replies} == {
        request_id: request_id + 3 for request_id in range(1, 11)
    }
    listed = await client.chat.ListMessages(
        chat.ListMessagesRequest(channel_id=channel_id), metadata=bob.metadata
    )
    assert [event.message.text for event in listed.events] == [f"{n}" for n in range(10, 0, -1)]


@pytest.mark.parametrize("way", ["goodbye", "half-close"])
async def test_leaving_right_after_hello_gets_the_welcome_first(
    client: RawClient, talk: tuple[Person, Person, str], way: str
) -> None:
    """What a pipe into grpcurl does: Hello, a request, the end. All of it is answered before OK.

    Found by this: the stream ended before Welcome.
    """
    stream = client.open(talk[0].metadata)
    await stream.send(hello=HELLO)
    await stream.send(request_id=1, send_message=message(talk[2], "in passing"))
    if way == "goodbye":
        await stream.send(goodbye=stream_pb2.Goodbye())
    else:
        await stream.half_close()
    assert (await stream.end()).brief == OK
    assert stream.replies[1].send_message.seq == 4
    kinds = [control.WhichOneof("control") for control in stream.controls]
    assert kinds[0] == "welcome"
    assert kinds[-1] == "caught_up"
    alone = client.open(talk[0].metadata)
    await alone.send(hello=HELLO)
    await alone.half_close()
    assert (await alone.end()).brief == OK
    assert alone.controls[-1].HasField("caught_up")


async def test_a_client_that_is_gone_mid_send_has_sent(
    node: NodeProcess, client: RawClient, talk: tuple[Person, Person, str]
) -> None:
    """Streams and calls that break off while their messages wait for the log: what was taken is written once,
    and a retry of any of them gets the same seq.
    """
    alice, _, channel_id = talk
    hold = node.data / "HOLD"
    requests = [message(channel_id, f"{number}") for number in range(20)]
    stream = await client.connect(alice)
    hold.touch()
    try:
        for request_id, request in enumerate(requests[:10], start=1):
            await stream.send(request_id=request_id, send_message=request)
        await stream.barrier()
        stream.cancel()
        calls = [client.chat.SendMessage(request, metadata=alice.metadata) for request in requests[10:]]
        # Answered after they came: by now the node has most of them, and it does not matter which.
        await client.chat.GetInbox(chat.GetInboxRequest(), metadata=alice.metadata)
        for call in calls:
            call.cancel()
    finally:
        hold.unlink()
    again = [await client.chat.SendMessage(request, metadata=alice.metadata) for request in requests]
    assert all(answer.duplicate for answer in again[:10])
    assert sorted(answer.seq for answer in again) == list(range(4, 24))
    assert [answer.seq for answer in again[:10]] == list(range(4, 14))


async def test_many_clients_that_vanish_leave_nothing_behind(
    client: RawClient, talk: tuple[Person, Person, str]
) -> None:
    """Fifty streams cancelled at every stage of their lives, and a connection cut under ten: afterwards the
    user's streams work as before.
    """
    alice, _, channel_id = talk
    for stage in range(50):
        stream = client.open(alice.metadata)
        if stage % 5:
            await stream.send(hello=HELLO)
        if stage % 5 == 2:
            await stream.read()
        if stage % 5 == 3:
            await stream.caught_up()
        if stage % 5 == 4:
            await stream.send(request_id=1, heartbeat=stream_pb2.HeartbeatRequest())
        stream.cancel()
    async with RawClient(client.address) as other:
        for _ in range(10):
            await other.connect(alice)
    stream = await client.connect(alice)
    sent = await client.send(alice, channel_id)
    await stream.until(lambda: stream.event_seqs(channel_id) == [sent.seq])
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
