"""Retrying is always safe: one client-made id is one thing, however often it comes and after whatever."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from parley.admin.v1 import admin_service_pb2 as admin
from parley.auth.v1 import auth_service_pb2 as auth
from parley.channel.v1 import channel_service_pb2 as channels
from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import message_requests_pb2
from parley.user.v1 import user_service_pb2 as users
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import (
    PASSWORD,
    Person,
    RawClient,
    RawStream,
    bearer,
    message,
    outcome_of,
    reason_of,
    uuid7,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from parley.chat.v1 import event_pb2

    StartNode = Callable[..., Awaitable[NodeProcess]]

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHEAP_PASSWORDS = Path(__file__).parent.parent / "planted" / "cheap_passwords.py"
HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS
Sent = message_requests_pb2.SendMessageResponse


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """One node for all that needs no restart."""
    node = NodeProcess(tmp_path_factory.mktemp("idempotency") / "node", plants=(CHEAP_PASSWORDS,))
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it."""
    async with RawClient(node.address) as client:
        yield client


async def _events(client: RawClient, person: Person, channel_id: str) -> list[event_pb2.Event]:
    events: list[event_pb2.Event] = []
    request = chat.ListEventsRequest(channel_id=channel_id, page_size=200)
    while True:
        page = await client.chat.ListEvents(request, metadata=person.metadata)
        events.extend(page.events)
        if not page.next_page_token:
            assert [event.seq for event in events] == list(range(1, page.head_seq + 1))
            return events
        request.page_token = page.next_page_token


async def _pipelined(
    stream: RawStream, request: message_requests_pb2.SendMessageRequest, count: int
) -> list[Sent]:
    """The request `count` times at once on one stream."""
    first = 1 + max(stream.replies, default=0)
    ids = range(first, first + count)
    for request_id in ids:
        await stream.send(request_id=request_id, send_message=request)
    await stream.until(lambda: all(request_id in stream.replies for request_id in ids))
    for request_id in ids:
        assert stream.replies[request_id].HasField("send_message"), stream.replies[request_id].error
    return [stream.replies[request_id].send_message for request_id in ids]


async def _hundred_times(
    client: RawClient, sender: Person, request: message_requests_pb2.SendMessageRequest
) -> list[Sent]:
    """The request a hundred times at once: 50 unary calls and 25 on each of two streams."""
    streams = [await client.connect(sender) for _ in range(2)]
    unary = [client.chat.SendMessage(request, metadata=sender.metadata) for _ in range(50)]

    async def answer(call: Awaitable[Sent]) -> Sent:
        return await call

    calls = [asyncio.ensure_future(answer(call)) for call in unary]
    piped = await asyncio.gather(*(_pipelined(stream, request, 25) for stream in streams))
    answers = [*await asyncio.gather(*calls), *piped[0], *piped[1]]
    for stream in streams:
        stream.cancel()
    return answers


@pytest.mark.asyncio(loop_scope="function")
async def test_one_id_a_hundred_times_is_one_message_also_after_restarts(start_node: StartNode) -> None:
    """The same id by unary call and on streams at once, then after SIGTERM and after SIGKILL.

    Planted once: without `KnownIds.add` in `evolve` there were a hundred messages; without the look-up of
    ids at activation there was a second one after the restart.
    """
    node = await start_node()
    seqs, fresh = set(), 0
    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.direct(alice, bob)
        watcher = await client.connect(bob)
        request = message(channel_id, "한 번만", topic="once")
    for end in (node.stop, node.kill, None):
        async with RawClient(node.address) as client:
            watcher = await client.connect(bob)
            answers = await _hundred_times(client, alice, request)
            assert len(answers) == 100
            seqs |= {(answer.seq, answer.message_no, answer.create_time_ms) for answer in answers}
            fresh += sum(not answer.duplicate for answer in answers)
            events = await _events(client, bob, channel_id)
            assert [e.client_message_id for e in events].count(request.client_message_id) == 1
            expected = 1 if fresh and end == node.stop else 0
            await watcher.at_least(expected)
            await watcher.barrier()
            assert len(watcher.event_seqs(channel_id)) == expected
            watcher.cancel()
        if end is not None:
            await end()
            await node.start()
    assert len(seqs) == 1
    assert fresh == 1


@pytest.mark.asyncio(loop_scope="function")
async def test_an_id_is_known_beyond_what_an_owner_keeps_in_memory(start_node: StartNode) -> None:
    """1,100 messages later, and again after a kill, the first id still means the first message.

    Planted once: with `_look_up` finding nothing, the retry was written a second time.
    """
    node = await start_node()
    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.direct(alice, bob)
        request = message(channel_id, "the first")
        first = await client.chat.SendMessage(request, metadata=alice.metadata)
        for _ in range(11):
            await asyncio.gather(*(client.send(bob, channel_id, "more") for _ in range(100)))
        again = await client.chat.SendMessage(request, metadata=alice.metadata)
        assert (again.seq, again.duplicate) == (first.seq, True)
    await node.kill()
    await node.start()
    async with RawClient(node.address) as client:
        again = await client.chat.SendMessage(request, metadata=alice.metadata)
        assert (again.seq, again.message_no, again.duplicate) == (first.seq, first.message_no, True)
        request.text = "another"
        outcome = await outcome_of(client.chat.SendMessage(request, metadata=alice.metadata))
        assert outcome.brief == ("ALREADY_EXISTS", "CLIENT_ID_REUSED")


async def test_other_content_under_a_used_id_is_refused(client: RawClient) -> None:
    """Text and attributes are the content; the order of a map is not. On streams as by unary call.

    Planted once: with the digest taken of the text alone, other attributes passed as a duplicate.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    sent = message(channel_id, "text", a="1", b="2")
    first = await client.chat.SendMessage(sent, metadata=alice.metadata)
    client_id = sent.client_message_id
    stream = await client.connect(alice)
    for other in (
        message(channel_id, "text ", client_id, a="1", b="2"),
        message(channel_id, "text", client_id),
        message(channel_id, "text", client_id, a="1", b="3"),
        message(channel_id, "text", client_id, a="1", bb="2"),
        message(channel_id, "te\u0301xt", client_id, a="1", b="2"),
        message(channel_id, "text", client_id, a="1b", b="2"),
    ):
        outcome = await outcome_of(client.chat.SendMessage(other, metadata=alice.metadata))
        assert outcome.brief == ("ALREADY_EXISTS", "CLIENT_ID_REUSED")
        reply = await stream.ask(send_message=other)
        assert reply.error == outcome.status
    same = message(channel_id, "text", client_id, b="2", a="1")
    again = await client.chat.SendMessage(same, metadata=alice.metadata)
    assert (again.seq, again.duplicate) == (first.seq, True)
    assert len(await _events(client, bob, channel_id)) == first.seq
    stream.cancel()


async def test_different_contents_at_once_under_one_id_leave_one_message(client: RawClient) -> None:
    """Twenty contents race for one id: one wins, and every other one is told so."""
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    client_id = uuid7()
    outcomes = await asyncio.gather(
        *(outcome_of(client.send(alice, channel_id, f"text {n}", client_id)) for n in range(20))
    )
    reasons = sorted(outcome.reason for outcome in outcomes)
    assert reasons == ["", *["CLIENT_ID_REUSED"] * 19]
    ids = [event.client_message_id for event in await _events(client, bob, channel_id)]
    assert ids.count(client_id) == 1


async def test_an_id_belongs_to_its_sender_and_its_channel(client: RawClient) -> None:
    """The same id from another sender, or in another channel, is another message; across one user's devices
    it is the same.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    tablet = await client.log_in(alice.username)
    direct_id = await client.direct(alice, bob)
    group_id = await client.group(alice, [bob])
    client_id = uuid7()
    first = await client.send(alice, direct_id, "hers", client_id)
    others = [
        await client.send(bob, direct_id, "his", client_id),
        await client.send(alice, group_id, "elsewhere", client_id),
    ]
    again = await client.send(tablet, direct_id, "hers", client_id)
    assert [first.duplicate, *(other.duplicate for other in others)] == [False] * 3
    assert others[0].seq == first.seq + 1
    assert (again.seq, again.duplicate) == (first.seq, True)


async def test_a_retry_after_the_sender_was_removed_still_gets_the_first_seq(client: RawClient) -> None:
    """Whoever was removed learns what became of a send, and can send nothing new.

    Planted once: with the membership asked before the id, the retry answered CHANNEL_NOT_FOUND.
    """
    owner, member = await client.sign_up(), await client.sign_up()
    channel_id = await client.group(owner, [member])
    sent = message(channel_id, "my last words")
    first = await client.chat.SendMessage(sent, metadata=member.metadata)
    remove = channels.RemoveMemberRequest(channel_id=channel_id, user_id=member.user_id)
    await client.channels.RemoveMember(remove, metadata=owner.metadata)
    again = await client.chat.SendMessage(sent, metadata=member.metadata)
    assert (again.seq, again.duplicate) == (first.seq, True)
    outcome = await outcome_of(client.send(member, channel_id, "and another thing"))
    assert outcome.brief == ("NOT_FOUND", "CHANNEL_NOT_FOUND")


async def test_a_retry_after_a_block_still_gets_the_first_seq(client: RawClient) -> None:
    """The answer was lost, and then came the block: what was written is not reported as refused.

    Planted once: with blocks asked before the id, all three retries answered BLOCKED.
    """
    ann, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(ann, bob)
    sent = message(channel_id, "before the block")
    first = await client.chat.SendMessage(sent, metadata=ann.metadata)
    edit = message_requests_pb2.EditMessageRequest(
        channel_id=channel_id, seq=first.seq, client_message_id=uuid7(), text="edited before the block"
    )
    edited = await client.chat.EditMessage(edit, metadata=ann.metadata)
    react = message_requests_pb2.AddReactionRequest(
        channel_id=channel_id, seq=first.seq, client_message_id=uuid7(), emoji="👍"
    )
    reacted = await client.chat.AddReaction(react, metadata=ann.metadata)
    await client.users.BlockUser(users.BlockUserRequest(user_id=ann.user_id), metadata=bob.metadata)

    again = await client.chat.SendMessage(sent, metadata=ann.metadata)
    assert (again.seq, again.duplicate) == (first.seq, True)
    edited_again = (await client.chat.EditMessage(edit, metadata=ann.metadata)).change
    assert (edited_again.seq, edited_again.duplicate) == (edited.change.seq, True)
    reacted_again = (await client.chat.AddReaction(react, metadata=ann.metadata)).change
    assert (reacted_again.seq, reacted_again.duplicate) == (reacted.change.seq, True)
    assert (await outcome_of(client.send(ann, channel_id, "and more"))).reason == "BLOCKED"
    sent.text = "something else under the same id"
    outcome = await outcome_of(client.chat.SendMessage(sent, metadata=ann.metadata))
    assert outcome.reason == "CLIENT_ID_REUSED"


async def test_a_retry_after_the_channel_was_deleted_still_gets_the_first_seq(client: RawClient) -> None:
    """Also of what names another message, which nobody may see any more.

    Planted once: with that asked before the id, the answer and the reaction got MESSAGE_NOT_FOUND.
    """
    ann, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.group(ann, [bob])
    first = await client.send(ann, channel_id, "a question")
    reply = message(channel_id, "an answer")
    reply.reply_to_seq = first.seq
    answered = await client.chat.SendMessage(reply, metadata=bob.metadata)
    react = message_requests_pb2.AddReactionRequest(
        channel_id=channel_id, seq=first.seq, client_message_id=uuid7(), emoji="👍"
    )
    reacted = await client.chat.AddReaction(react, metadata=bob.metadata)
    await client.channels.DeleteChannel(
        channels.DeleteChannelRequest(channel_id=channel_id), metadata=ann.metadata
    )

    again = await client.chat.SendMessage(reply, metadata=bob.metadata)
    assert (again.seq, again.duplicate) == (answered.seq, True)
    reacted_again = (await client.chat.AddReaction(react, metadata=bob.metadata)).change
    assert (reacted_again.seq, reacted_again.duplicate) == (reacted.change.seq, True)
    reply.client_message_id = uuid7()
    outcome = await outcome_of(client.chat.SendMessage(reply, metadata=bob.metadata))
    assert outcome.reason == "MESSAGE_NOT_FOUND"


@pytest.mark.parametrize(
    "client_id",
    [
        pytest.param("", id="empty"),
        pytest.param(str(uuid.uuid4()), id="version-4"),
        pytest.param(str(uuid.uuid1()), id="version-1"),
        pytest.param(uuid7().upper(), id="upper-case"),
        pytest.param(f"{{{uuid7()}}}", id="braces"),
        pytest.param(f"urn:uuid:{uuid7()}", id="urn"),
        pytest.param(uuid7().replace("-", ""), id="no-dashes"),
        pytest.param(uuid7() + "\n", id="line-feed-behind"),
        pytest.param(" " + uuid7(), id="space-before"),
        pytest.param(uuid7()[:19] + "-c" + uuid7()[21:], id="wrong-variant"),
        pytest.param("٠" + uuid7()[1:], id="arabic-digit"),
        pytest.param("0" * 1000, id="long"),
    ],
)
@pytest.mark.parametrize("field", ["client_message_id", "client_channel_id"])
async def test_malformed_ids_are_violations(client: RawClient, client_id: str, field: str) -> None:
    """Nothing but a UUIDv7 in lower-case text is taken, and nothing is stored."""
    outcome = await _outcome_with_id(client, field, client_id)
    assert outcome.brief == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert outcome.violated_fields == [field]


@pytest.mark.parametrize("field", ["client_message_id", "client_channel_id"])
async def test_an_id_counts_by_its_own_time(client: RawClient, field: str) -> None:
    """Seven days back and one hour ahead are the borders; a minute on either side tells.

    Planted once: with a window of eight days the 7-days-and-a-minute id was taken.
    """
    now_ms = time.time_ns() // 1_000_000
    minute_ms = 60_000
    expected = {
        now_ms - 8 * DAY_MS: ("FAILED_PRECONDITION", "MESSAGE_ID_EXPIRED"),
        now_ms - 7 * DAY_MS - minute_ms: ("FAILED_PRECONDITION", "MESSAGE_ID_EXPIRED"),
        0: ("FAILED_PRECONDITION", "MESSAGE_ID_EXPIRED"),
        now_ms - 7 * DAY_MS + minute_ms: ("OK", ""),
        now_ms + HOUR_MS - minute_ms: ("OK", ""),
        now_ms + HOUR_MS + minute_ms: ("INVALID_ARGUMENT", "INVALID_FIELD"),
        now_ms + 2 * HOUR_MS: ("INVALID_ARGUMENT", "INVALID_FIELD"),
        2**48 - 1: ("INVALID_ARGUMENT", "INVALID_FIELD"),
    }
    for at_ms, brief in expected.items():
        outcome = await _outcome_with_id(client, field, uuid7(at_ms))
        assert outcome.brief == brief, at_ms - now_ms


async def _outcome_with_id(client: RawClient, field: str, client_id: str) -> Any:
    """How a message or a group with this id is answered; a refusal must leave nothing behind."""
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    if field == "client_message_id":
        request = message(channel_id, "text")
        request.client_message_id = client_id
        outcome = await outcome_of(client.chat.SendMessage(request, metadata=alice.metadata))
        stored = len(await _events(client, alice, channel_id)) - 3
        stream = await client.connect(alice)
        reply = await stream.ask(send_message=request)
        assert reason_of(reply.error) == outcome.reason
        stream.cancel()
    else:
        create = channels.CreateChannelRequest(title="group", client_channel_id=client_id)
        outcome = await outcome_of(client.channels.CreateChannel(create, metadata=alice.metadata))
        listed = await client.channels.ListChannels(channels.ListChannelsRequest(), metadata=alice.metadata)
        stored = len(listed.channels) - 1
    assert stored == (outcome.code.name == "OK")
    return outcome


async def test_creating_a_group_twenty_times_at_once_makes_one(client: RawClient) -> None:
    """One client_channel_id is one group with one set of members; other content is refused.

    Planted once: with a fresh channel id per call there were twenty.
    """
    alice, bob, carol = [await client.sign_up() for _ in range(3)]
    request = channels.CreateChannelRequest(
        title="the group", member_ids=[bob.user_id], client_channel_id=uuid7()
    )

    async def create(person: Person, **changed: Any) -> channels.CreateChannelResponse:
        own = channels.CreateChannelRequest()
        own.CopyFrom(request)
        for name, value in changed.items():
            own.ClearField(name)  # type: ignore[arg-type]
            own.MergeFrom(channels.CreateChannelRequest(**{name: value}))
        answer = await client.channels.CreateChannel(own, metadata=person.metadata)
        assert isinstance(answer, channels.CreateChannelResponse)
        return answer

    answers = await asyncio.gather(*(create(alice) for _ in range(20)))
    assert len({answer.channel.channel_id for answer in answers}) == 1
    assert sum(not answer.duplicate for answer in answers) == 1
    channel_id = answers[0].channel.channel_id
    assert len(await _events(client, alice, channel_id)) == 3
    assert (await create(alice, member_ids=[bob.user_id, alice.user_id, bob.user_id])).duplicate
    other_contents: list[dict[str, Any]] = [
        {"title": "another"},
        {"member_ids": [carol.user_id]},
        {"member_ids": []},
        {"history_visibility": 2},
    ]
    for changed in other_contents:
        outcome = await outcome_of(create(alice, **changed))
        assert outcome.brief == ("ALREADY_EXISTS", "CLIENT_ID_REUSED"), changed
    other = await create(carol)
    assert not other.duplicate
    assert other.channel.channel_id != channel_id


async def test_a_pair_has_one_direct_channel_whoever_asks(client: RawClient) -> None:
    """Both make it, ten times each, at once: one channel, made once."""
    alice, bob = await client.sign_up(), await client.sign_up()

    async def create(one: Person, other: Person) -> channels.CreateDirectChannelResponse:
        request = channels.CreateDirectChannelRequest(user_id=other.user_id)
        answer = await client.channels.CreateDirectChannel(request, metadata=one.metadata)
        assert isinstance(answer, channels.CreateDirectChannelResponse)
        return answer

    answers = await asyncio.gather(
        *(create(alice, bob) for _ in range(10)), *(create(bob, alice) for _ in range(10))
    )
    assert len({answer.channel.channel_id for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1
    assert len(await _events(client, bob, answers[0].channel.channel_id)) == 3


async def test_membership_changes_repeated_add_no_event(client: RawClient) -> None:
    """Adding who is in, removing who is out, leaving twice: the log stays as it is."""
    owner, member = await client.sign_up(), await client.sign_up()
    channel_id = await client.group(owner)
    add = channels.AddMembersRequest(channel_id=channel_id, user_ids=[member.user_id] * 3)
    remove = channels.RemoveMemberRequest(channel_id=channel_id, user_id=member.user_id)
    leave = channels.LeaveChannelRequest(channel_id=channel_id)
    heads = []
    calls: list[tuple[Any, Any, Person]] = [
        (client.channels.AddMembers, add, owner),
        (client.channels.LeaveChannel, leave, member),
        (client.channels.AddMembers, add, owner),
        (client.channels.RemoveMember, remove, owner),
        (client.channels.LeaveChannel, leave, member),
    ]
    for call, request, person in calls:
        for _ in range(2):
            await call(request, metadata=person.metadata)
            heads.append(len(await _events(client, owner, channel_id)))
    assert heads == [3, 3, 4, 4, 5, 5, 6, 6, 6, 6]


async def test_sign_up_and_log_in_repeated_are_one_account_and_one_device(client: RawClient) -> None:
    """A repeated SignUp or LogIn yields the same user and device, at once and later, with tokens that work.

    Planted once: with a random device id per log-in there were ten devices.
    """
    request = auth.SignUpRequest(
        username=f"twice{uuid.uuid4().hex[:8]}", password=PASSWORD, request_id=str(uuid.uuid4())
    )
    made = await asyncio.gather(*(_answer(client.auth.SignUp(request)) for _ in range(5)))
    made.append(await client.auth.SignUp(request))
    assert len({(answer.user.user_id, answer.device_id) for answer in made}) == 1
    for answer in made:
        metadata = bearer(answer.tokens.access_token)
        listed = await client.auth.ListDevices(auth.ListDevicesRequest(), metadata=metadata)
        assert len(listed.devices) == 1

    log_in = auth.LogInRequest(username=request.username, password=PASSWORD, request_id=str(uuid.uuid4()))
    logged = await asyncio.gather(*(_answer(client.auth.LogIn(log_in)) for _ in range(5)))
    assert len({answer.device_id for answer in logged}) == 1
    for answer in logged:
        access = bearer(answer.tokens.access_token)
        await client.auth.ListDevices(auth.ListDevicesRequest(), metadata=access)
    # The reply that the client took up renews; a renewal repeated for a lost reply answers the same.
    logged.append(await client.auth.LogIn(log_in))
    renewal = auth.RefreshRequest(refresh_token=logged[-1].tokens.refresh_token)
    renewed = [await client.auth.Refresh(renewal) for _ in range(2)]
    assert renewed[0].tokens.refresh_token == renewed[1].tokens.refresh_token
    listed = await client.auth.ListDevices(auth.ListDevicesRequest(), metadata=metadata)
    assert len(listed.devices) == 2

    revoke = auth.RevokeDeviceRequest(device_id=logged[0].device_id)
    await client.auth.RevokeDevice(revoke, metadata=metadata)
    outcome = await outcome_of(client.auth.LogIn(log_in))
    assert outcome.brief == ("UNAUTHENTICATED", "DEVICE_REVOKED")


async def test_a_request_id_opens_one_account_only(client: RawClient, node: NodeProcess) -> None:
    """Another name under a used request id, a used name under another one, a wrong password: each refused."""
    name = f"owner{uuid.uuid4().hex[:8]}"
    request = auth.SignUpRequest(username=name, password=PASSWORD, request_id=str(uuid.uuid4()))
    await client.auth.SignUp(request)
    for changed, brief in (
        ({"username": name + "x"}, ("ALREADY_EXISTS", "CLIENT_ID_REUSED")),
        ({"password": "not the same one"}, ("ALREADY_EXISTS", "USERNAME_TAKEN")),
        ({"request_id": str(uuid.uuid4())}, ("ALREADY_EXISTS", "USERNAME_TAKEN")),
        ({"request_id": "", "username": name + "y"}, ("INVALID_ARGUMENT", "INVALID_FIELD")),
        ({"request_id": str(uuid.uuid4()).upper()}, ("INVALID_ARGUMENT", "INVALID_FIELD")),
    ):
        other = auth.SignUpRequest(username=name, password=PASSWORD, request_id=request.request_id)
        other.MergeFrom(auth.SignUpRequest(**changed))
        if changed.get("request_id") == "":
            other.ClearField("request_id")
        assert (await outcome_of(client.auth.SignUp(other))).brief == brief, changed

    token = bearer(node.operator_token)
    create = admin.CreateUserRequest(username=name + "z", password=PASSWORD, request_id=str(uuid.uuid4()))
    made = await asyncio.gather(*(_answer(client.admin.CreateUser(create, metadata=token)) for _ in range(5)))
    assert len({answer.user.user_id for answer in made}) == 1
    create.operator = True
    outcome = await outcome_of(client.admin.CreateUser(create, metadata=token))
    assert outcome.brief == ("ALREADY_EXISTS", "CLIENT_ID_REUSED")


async def _answer(call: Awaitable[Any]) -> Any:
    return await call
