"""A user's devices on one node: in step with each other, each with a cursor of its own, and how they end."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from parley.admin.v1 import admin_service_pb2
from parley.auth.v1 import auth_service_pb2
from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley.user.v1 import user_service_pb2
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import (
    Person,
    RawClient,
    RawStream,
    bearer,
    eventually,
    message,
    outcome_of,
    uuid7,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHEAP_PASSWORDS = Path(__file__).parent.parent / "planted" / "cheap_passwords.py"
DEVICES_PER_USER = 4
# The promise: a revocation ends the device's streams within this time.
STREAM_ENDS_SECONDS = 1.0
NO_CURSOR = ("reset", stream_pb2.RESET_REASON_NO_CURSOR)
CONTINUED = ("continued",)
DEVICE_REVOKED = ("UNAUTHENTICATED", "DEVICE_REVOKED")


async def _running(path: Path, **settings: object) -> AsyncIterator[NodeProcess]:
    node = NodeProcess(path, settings, (CHEAP_PASSWORDS,))
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr
    assert "was not stored" not in node.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """A node that stores acknowledged cursors each second, with few devices per user."""
    settings = {"sessions.acknowledge_seconds": 1, "limits.devices_per_user": DEVICES_PER_USER}
    async for node in _running(tmp_path_factory.mktemp("devices") / "node", **settings):
        yield node


@pytest_asyncio.fixture(loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it, a new one for each test: one restarts the node."""
    async with RawClient(node.address) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def patient(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RawClient]:
    """A connection to a node that stores what a stream acknowledged only when the stream ends."""
    settings = {"sessions.acknowledge_seconds": 600}
    async for node in _running(tmp_path_factory.mktemp("patient") / "node", **settings):
        async with RawClient(node.address) as client:
            yield client


async def _mark(client: RawClient, person: Person, channel_id: str, seq: int) -> int:
    request = message_requests_pb2.MarkReadRequest(channel_id=channel_id, seq=seq)
    return int((await client.chat.MarkRead(request, metadata=person.metadata)).read_seq)


def _ack(cursor: str) -> message_requests_pb2.AckEventsRequest:
    return message_requests_pb2.AckEventsRequest(cursor=cursor)


async def _ack_on(stream: RawStream, cursor: str) -> None:
    assert (await stream.ask(ack_events=_ack(cursor))).HasField("ack_events")


async def _kept(client: RawClient, person: Person) -> tuple[object, ...]:
    """Where the server takes the device up that lost its state: ("reset", reason), ("continued",) or
    ("digested", the channels with news).
    """
    stream = await client.connect(person)
    stream.cancel()
    resume = stream.welcome.WhichOneof("resume") or ""
    heads = [head.channel_id for control in stream.controls for head in control.digest.heads]
    if resume == "reset":
        return resume, stream.welcome.reset.reason
    return (resume, *sorted(heads))


async def _kept_becomes(client: RawClient, person: Person, *expected: object) -> None:
    async def holds() -> bool:
        return await _kept(client, person) == expected

    await eventually(holds)


async def _cursors(client: RawClient, person: Person, count: int) -> tuple[list[str], list[str]]:
    """Groups with a message each, and the device's cursor after each: what changed after cursors[i] are the
    groups from i + 1 on.
    """
    other = await client.sign_up()
    channel_ids = [await client.group(other, [person]) for _ in range(count)]
    stream = await client.connect(person)
    cursors: list[str] = []
    for channel_id in channel_ids:
        before = stream.cursor
        await client.send(other, channel_id)
        await stream.until(lambda: stream.cursor != before and stream.event_seqs(channel_id))  # noqa: B023 - read at once
        cursors.append(stream.cursor)
    stream.cancel()
    assert len(set(cursors)) == count
    return channel_ids, cursors


# In step


async def test_own_messages_reach_the_senders_other_devices(client: RawClient) -> None:
    """Sent on the phone's stream, by unary call and again: every device of the sender, the phone included,
    gets each once, in one order, with the client_message_id that the phone chose.

    Planted once: a hub that hands a user's events to one session alone; the phone waited for ever. And a
    fan-out that clears the id.
    """
    phone, bob = await client.sign_up(), await client.sign_up()
    tablet, laptop = await client.log_in(phone.username), await client.log_in(phone.username)
    channel_id = await client.direct(phone, bob)
    sender = await client.connect(phone)
    streams = [sender, await client.connect(tablet), await client.subscribe(laptop)]
    ids = [uuid7() for _ in range(40)]

    seqs: dict[str, int] = {}

    async def call(client_message_id: str) -> None:
        request = message(channel_id, "mine", client_message_id)
        answer = await client.chat.SendMessage(request, metadata=phone.metadata)
        again = await client.chat.SendMessage(request, metadata=phone.metadata)
        assert (again.seq, again.duplicate) == (answer.seq, True)
        seqs[client_message_id] = answer.seq

    async def stream_all(client_message_ids: list[str]) -> None:
        for client_message_id in client_message_ids:
            request = message(channel_id, "mine", client_message_id)
            seqs[client_message_id] = (await sender.ask(send_message=request)).send_message.seq

    await asyncio.gather(stream_all(ids[::2]), *map(call, ids[1::2]))
    for stream in streams:
        await stream.at_least(len(ids))
    await sender.barrier()
    await streams[1].barrier()
    expected = sorted((seq, client_message_id) for client_message_id, seq in seqs.items())
    for stream in streams:
        assert [(event.seq, event.client_message_id) for event in stream.events] == expected
        assert {event.actor_id for event in stream.events} == {phone.user_id}
        stream.cancel()


async def test_read_positions_merge_by_maximum_on_every_device(client: RawClient) -> None:
    """Three devices raise the position of two channels in any order, on streams and by unary calls, all at
    once: each is told only larger ones, all end with the largest, and a late smaller one is answered with
    what holds and told to nobody.

    Planted once: `mark_read` of the store without its comparison; found by the answer. A feed
    that announces smaller positions too; found by one that was told again.
    """
    phone, bob = await client.sign_up(), await client.sign_up()
    tablet, laptop = await client.log_in(phone.username), await client.log_in(phone.username)
    channel_ids = [await client.direct(phone, bob), await client.group(bob, [phone])]
    last = 0
    for channel_id in channel_ids * 30:
        last = (await client.send(bob, channel_id)).seq
    streams = [await client.connect(phone), await client.connect(tablet), await client.subscribe(laptop)]
    people = [phone, tablet, laptop]
    shuffled = random.Random(20)
    seqs = shuffled.sample(range(4, last + 1), 25)

    async def raise_on(stream: RawStream, seqs: list[int]) -> None:
        for seq in seqs:
            for channel_id in channel_ids:
                await stream.send(mark_read={"channel_id": channel_id, "seq": seq})

    async def call(person: Person, channel_id: str, seq: int) -> None:
        assert await _mark(client, person, channel_id, seq) >= seq

    def told(stream: RawStream, channel_id: str) -> list[tuple[int, int]]:
        positions = [c.read_position for c in stream.controls if c.HasField("read_position")]
        return [(p.read_seq, p.read_message_no) for p in positions if p.channel_id == channel_id]

    await asyncio.gather(
        raise_on(streams[0], seqs[:8]),
        raise_on(streams[1], seqs[8:16]),
        *(call(laptop, channel_id, seq) for seq in seqs[16:] for channel_id in channel_ids),
    )
    for person in people:
        for channel_id in channel_ids:
            assert await _mark(client, person, channel_id, last) == last
            assert await _mark(client, person, channel_id, 4) == last
    # The last one of all: whatever was told before it has come when this one has.
    end_id = await client.group(bob, [phone])
    for stream in streams:
        await stream.until(lambda stream=stream: stream.event_seqs(end_id))  # type: ignore[misc]
        for channel_id in channel_ids:
            positions = told(stream, channel_id)
            assert positions[-1][0] == last
            assert positions == sorted(set(positions))
        stream.cancel()
    assert len({told(stream, channel_id)[-1] for stream in streams for channel_id in channel_ids[:1]}) == 1


# Cursors


async def test_each_device_has_its_own_cursor(patient: RawClient) -> None:
    """The phone is away since the first event, the tablet follows live, the laptop never acknowledged: each
    is taken up where it was, and the tablet's acknowledging moves nobody else.

    Planted once: acknowledged cursors kept by user; the phone was told that it had missed nothing.
    """
    phone = await patient.sign_up()
    tablet, laptop = await patient.log_in(phone.username), await patient.log_in(phone.username)
    channel_ids, cursors = await _cursors(patient, phone, 3)
    away, live = await patient.connect(phone), await patient.connect(tablet)
    await _ack_on(away, cursors[0])
    away.cancel()
    await _kept_becomes(patient, phone, "digested", *sorted(channel_ids[1:]))
    await _ack_on(live, cursors[2])
    live.cancel()
    await _kept_becomes(patient, tablet, *CONTINUED)
    assert await _kept(patient, phone) == ("digested", *sorted(channel_ids[1:]))
    assert await _kept(patient, laptop) == NO_CURSOR


async def test_acks_on_a_stream_are_stored_while_it_is_open(client: RawClient) -> None:
    """Within acknowledge_seconds, more than once on one stream; and what was stored is durable.

    Planted once: no storing in `Upkeep.tick`; the device was reset until its stream ended.
    """
    phone = await client.sign_up()
    channel_ids, cursors = await _cursors(client, phone, 3)
    stream = await client.connect(phone)
    for place, cursor in enumerate(cursors):
        await _ack_on(stream, cursor)
        rest = sorted(channel_ids[place + 1 :])
        await _kept_becomes(client, phone, *(("digested", *rest) if rest else CONTINUED))
    await stream.barrier()
    stream.cancel()


@pytest.mark.parametrize("way", ["goodbye", "vanishing"])
async def test_acks_on_a_stream_are_coalesced_and_stored_at_its_end(patient: RawClient, way: str) -> None:
    """A hundred acks in any order, some without a wish for a reply: nothing is stored while the stream is
    open, and the newest of them when it ends, however it ends.

    Found by this: the last ack was stored and not the newest, so a late older one undid what the device had
    acknowledged. Planted once: each ack stored at once.
    """
    phone = await patient.sign_up()
    _, cursors = await _cursors(patient, phone, 4)
    stream = await patient.connect(phone)
    acks = cursors * 25
    random.Random(3).shuffle(acks)
    for cursor in [*acks, cursors[3], cursors[0]]:
        await stream.send(ack_events=_ack(cursor))
    await _ack_on(stream, cursors[1])
    for _ in range(10):
        assert await _kept(patient, phone) == NO_CURSOR
    if way == "goodbye":
        await stream.send(goodbye=stream_pb2.Goodbye())
        assert (await stream.end()).brief == ("OK", "")
    else:
        stream.cancel()

    async def stored() -> bool:
        return await _kept(patient, phone) != NO_CURSOR

    await eventually(stored)
    assert await _kept(patient, phone) == CONTINUED


async def test_an_older_ack_changes_nothing(client: RawClient) -> None:
    """After the newest was stored, older ones by unary call and on a stream that stores and ends.

    Planted once: the store without its comparison; the device was told a channel again.
    """
    phone = await client.sign_up()
    _, cursors = await _cursors(client, phone, 3)
    for cursor in (cursors[2], cursors[0]):
        await client.chat.AckEvents(_ack(cursor), metadata=phone.metadata)
        assert await _kept(client, phone) == CONTINUED
    stream = await client.connect(phone)
    await _ack_on(stream, cursors[1])
    await stream.send(goodbye=stream_pb2.Goodbye())
    assert (await stream.end()).brief == ("OK", "")
    for _ in range(10):
        assert await _kept(client, phone) == CONTINUED


async def test_another_users_cursor_is_refused_as_an_ack(client: RawClient) -> None:
    """On the stream and by unary call alike, and it is not stored; the stream goes on.

    Planted once: cursors without their user's mark; taken.
    """
    phone, stranger = await client.sign_up(), await client.sign_up()
    _, cursors = await _cursors(client, phone, 1)
    stream = await client.connect(stranger)
    reply = await stream.ask(ack_events=_ack(cursors[0]))
    unary = await outcome_of(client.chat.AckEvents(_ack(cursors[0]), metadata=stranger.metadata))
    assert unary.brief == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert unary.violated_fields == ["cursor"]
    assert unary.status == reply.error
    await stream.send(goodbye=stream_pb2.Goodbye())
    assert (await stream.end()).brief == ("OK", "")
    assert await _kept(client, stranger) == NO_CURSOR


async def test_an_ack_of_a_lost_epoch_is_taken_and_has_no_effect(
    node: NodeProcess, client: RawClient
) -> None:
    """A device that acknowledges from before a restart, after its newest ack or before it, on the stream and
    by unary call: the newest of this epoch holds.

    Planted once: `acknowledge` without its look at the epoch; the device was reset. Found by this: on a
    stream the older epoch's cursor took the place of the one that was to be stored.
    """
    phone = await client.sign_up()
    _, lost = await _cursors(client, phone, 1)
    await client.chat.AckEvents(_ack(lost[0]), metadata=phone.metadata)
    assert await _kept(client, phone) == CONTINUED
    await node.kill()
    await node.start()
    async with RawClient(node.address) as again:
        assert await _kept(again, phone) == ("reset", stream_pb2.RESET_REASON_EPOCH_CHANGED)
        _, cursors = await _cursors(again, phone, 2)
        stream = await again.connect(phone)
        for cursor in (lost[0], cursors[1], lost[0], cursors[0], lost[0]):
            await _ack_on(stream, cursor)
        stream.cancel()
        await _kept_becomes(again, phone, *CONTINUED)
        await again.chat.AckEvents(_ack(lost[0]), metadata=phone.metadata)
        assert await _kept(again, phone) == CONTINUED


# Ends


async def _refresh(client: RawClient, person: Person) -> Person:
    request = auth_service_pb2.RefreshRequest(refresh_token=person.refresh_token)
    tokens = (await client.auth.Refresh(request)).tokens
    return Person(
        person.user_id, person.username, person.device_id, tokens.access_token, tokens.refresh_token
    )


async def _ends(stream: RawStream, reason: int, since: float) -> tuple[str, str]:
    """How the stream ended, having seen that it was told why and in time."""
    outcome = await stream.end(5)
    elapsed = time.monotonic() - since
    assert elapsed < STREAM_ENDS_SECONDS, elapsed
    go_away = stream.control("go_away")
    assert (go_away.reason, go_away.resumable) == (reason, False)
    assert stream.frames[-1].controls[-1].HasField("go_away")
    return outcome.brief


async def test_one_device_too_many_ends_the_longest_unused_one(client: RawClient) -> None:
    """limits.devices_per_user is 4: the fifth log-in ends the streams and the tokens of the device that
    renewed its tokens longest ago, though others were logged in before it; the others' go on.

    Planted once: the device that was made first had to make room.
    """
    devices = [await client.sign_up()]
    devices += [await client.log_in(devices[0].username) for _ in range(DEVICES_PER_USER - 1)]
    devices[0] = await _refresh(client, devices[0])
    unused = devices[1]
    ending = [await client.connect(unused), await client.subscribe(unused)]
    staying = [await client.connect(device) for device in devices if device is not unused]
    started = time.monotonic()
    newest = await client.log_in(unused.username)
    for stream in ending:
        assert await _ends(stream, stream_pb2.GO_AWAY_REASON_DEVICE_REVOKED, started) == DEVICE_REVOKED
    request = user_service_pb2.GetUserRequest(user_id="me")
    assert (await outcome_of(client.users.GetUser(request, metadata=unused.metadata))).brief == DEVICE_REVOKED
    assert (await outcome_of(_refresh(client, unused))).brief == DEVICE_REVOKED
    assert (await client.open_subscribe(unused).end()).brief == DEVICE_REVOKED
    for stream in [*staying, await client.connect(newest)]:
        await stream.barrier()
        stream.cancel()
    for device in (devices[0], *devices[2:], newest):
        await _refresh(client, device)


@pytest.mark.parametrize("end", ["revoked", "suspended"])
async def test_who_is_revoked_or_suspended_ends_within_a_second(
    node: NodeProcess, client: RawClient, end: str
) -> None:
    """Twenty streams of a device among sixty, one of them not reading: each is told why and ends within 1 s;
    those of others go on, with a revocation those of the user's other devices too.

    Planted once: the streams ended 1.5 s later; found by the time. And `revoked` without its
    look at the device; found by the tablet's stream.
    """
    phone, bob = await client.sign_up(), await client.sign_up()
    tablet = await client.log_in(phone.username)
    channel_id = await client.direct(phone, bob)
    streams = {
        person.device_id: [
            await (client.connect(person) if place % 2 else client.subscribe(person)) for place in range(20)
        ]
        for person in (phone, tablet, bob)
    }
    ending = streams.pop(phone.device_id)
    reason, status = stream_pb2.GO_AWAY_REASON_DEVICE_REVOKED, DEVICE_REVOKED
    started = time.monotonic()
    if end == "revoked":
        request = auth_service_pb2.RevokeDeviceRequest(device_id=phone.device_id)
        await client.auth.RevokeDevice(request, metadata=tablet.metadata)
    else:
        ending += streams.pop(tablet.device_id)
        reason, status = stream_pb2.GO_AWAY_REASON_ACCOUNT_SUSPENDED, ("UNAUTHENTICATED", "ACCOUNT_SUSPENDED")
        suspension = admin_service_pb2.SuspendUserRequest(user_id=phone.user_id)
        await client.admin.SuspendUser(suspension, metadata=bearer(node.operator_token))
    outcomes = await asyncio.gather(*(_ends(stream, reason, started) for stream in ending))
    assert set(outcomes) == {status}
    sent = await client.send(bob, channel_id)
    for stream in [stream for group in streams.values() for stream in group]:
        await stream.until(lambda stream=stream: sent.seq in stream.event_seqs(channel_id))  # type: ignore[misc]
        stream.cancel()
