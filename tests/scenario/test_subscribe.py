"""Live delivery: every device of every member gets every event once, in order, from joining to leaving."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from parley.channel.v1 import channel_service_pb2 as channels
from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import Person, RawClient, RawStream, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, planted: Path) -> AsyncIterator[NodeProcess]:
    """A node with default limits, whose log can be held."""
    plants = (CHEAP_PASSWORDS, planted / "held_appends.py")
    node = NodeProcess(tmp_path_factory.mktemp("subscribe") / "node", plants=plants)
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it."""
    async with RawClient(node.address) as client:
        yield client


async def _reach(stream: RawStream, channel_id: str, seq: int) -> None:
    await stream.until(lambda: seq in stream.event_seqs(channel_id))


async def _remove(client: RawClient, owner: Person, channel_id: str, member: Person) -> None:
    request = channels.RemoveMemberRequest(channel_id=channel_id, user_id=member.user_id)
    await client.channels.RemoveMember(request, metadata=owner.metadata)


async def _add(client: RawClient, owner: Person, channel_id: str, member: Person) -> None:
    request = channels.AddMembersRequest(channel_id=channel_id, user_ids=[member.user_id])
    await client.channels.AddMembers(request, metadata=owner.metadata)


async def test_subscribe_and_connect_get_the_same_events(client: RawClient) -> None:
    """Six devices of two users, half on Connect and half on Subscribe: the same bytes in the same order, the
    sender's own devices included.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    devices = [alice, bob, *[await client.log_in(person.username) for person in (alice, bob) * 2]]
    channel_id = await client.group(alice, [bob])
    streams = [
        await (client.connect(device) if number % 2 else client.subscribe(device))
        for number, device in enumerate(devices)
    ]
    seqs = [(await client.send(alice, channel_id, f"{number}", "")).seq for number in range(20)]
    assert seqs == list(range(4, 24))
    for stream in streams:
        await _reach(stream, channel_id, seqs[-1])
        assert [event.SerializeToString(deterministic=True) for event in stream.events] == [
            event.SerializeToString(deterministic=True) for event in streams[0].events
        ]
        assert stream.event_seqs(channel_id) == seqs
        stream.cancel()


async def test_a_subscribe_without_a_hello_is_served(client: RawClient) -> None:
    """`grpcurl -d '{}'`: an empty request is a Hello with nothing in it."""
    stream = client.open_subscribe(await client.sign_up(), b"")
    await stream.caught_up()
    assert stream.welcome.reset.reason == stream_pb2.RESET_REASON_NO_CURSOR
    stream.cancel()


async def test_welcome_comes_first_and_says_what_holds(client: RawClient) -> None:
    """Limits, heartbeat, the heads with the own read position, then CaughtUp."""
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    await client.send(bob, channel_id)
    mark = message_requests_pb2.MarkReadRequest(channel_id=channel_id, seq=4)
    await client.chat.MarkRead(mark, metadata=alice.metadata)
    stream = await client.connect(alice)
    assert [control.WhichOneof("control") for control in stream.controls] == [
        "welcome",
        "digest",
        "caught_up",
    ]
    assert stream.welcome.limits == stream_pb2.Limits(
        text_code_points=100_000, request_bytes=1 << 20, requests_in_flight=32
    )
    assert stream.welcome.heartbeat_interval.seconds == 25
    assert list(stream.control("digest").heads) == [
        stream_pb2.ChannelHead(
            channel_id=channel_id, head_seq=4, head_message_no=1, read_seq=4, read_message_no=1, joined_seq=2
        )
    ]
    assert stream.cursor
    stream.cancel()


async def test_a_removed_member_gets_the_removal_and_nothing_after(
    node: NodeProcess, client: RawClient
) -> None:
    """Also in the middle of a batch: the last event is the removal. Whoever leaves gets the leaving.

    Planted once: with everybody in the audience to the end of the batch, messages came after the removal.
    """
    owner, removed, leaver = [await client.sign_up() for _ in range(3)]
    channel_id = await client.group(owner, [removed, leaver])
    streams = {
        person.user_id: [await client.connect(person), await client.subscribe(person)]
        for person in (removed, leaver)
    }
    sender = await client.connect(owner)
    # Held at the log, the removal shares a batch with messages before and after it.
    hold = node.data / "HOLD"
    hold.touch()
    try:
        for request_id in range(1, 16):
            await sender.send(request_id=request_id, send_message=message(channel_id, f"{request_id}"))
        await sender.barrier()
        removal = asyncio.ensure_future(_remove(client, owner, channel_id, removed))
        await client.channels.GetChannel(
            channels.GetChannelRequest(channel_id=channel_id), metadata=owner.metadata
        )
        for request_id in range(16, 31):
            await sender.send(request_id=request_id, send_message=message(channel_id, f"{request_id}"))
        await sender.barrier()
    finally:
        hold.unlink()
    await removal
    await sender.until(lambda: all(request_id in sender.replies for request_id in range(1, 31)))
    leave = channels.LeaveChannelRequest(channel_id=channel_id)
    await client.channels.LeaveChannel(leave, metadata=leaver.metadata)
    await client.send(owner, channel_id, "among ourselves")
    await _reach(sender, channel_id, 37)
    log = [event for event in sender.events if event.channel_id == channel_id]
    assert [event.seq for event in log] == list(range(5, 5 + len(log)))
    for person in (removed, leaver):
        gone_seq = next(
            event.seq
            for event in log
            if event.member_changed.user_id == person.user_id and not event.member_changed.role
        )
        connected, subscribed = streams[person.user_id]
        for stream in (connected, subscribed):
            await _reach(stream, channel_id, gone_seq)
        await connected.barrier()
        for stream in (connected, subscribed):
            assert stream.event_seqs(channel_id) == list(range(5, gone_seq + 1))
            stream.cancel()
    sender.cancel()


async def test_a_new_members_stream_starts_at_the_joining(client: RawClient) -> None:
    """One who is added while messages flow gets his joining first and everything after it; added again after
    a removal, he misses what lay between.
    """
    owner, late = await client.sign_up(), await client.sign_up()
    channel_id = await client.group(owner)
    stream, watcher = await client.connect(late), await client.connect(owner)
    for round_number in range(3):
        for _ in range(5):
            await client.send(owner, channel_id, "before")
        await _add(client, owner, channel_id, late)
        for _ in range(5):
            await client.send(owner, channel_id, f"during {round_number}")
        await _remove(client, owner, channel_id, late)
    await client.send(owner, channel_id, "after")
    await _reach(watcher, channel_id, 39)
    await _reach(stream, channel_id, 38)
    await stream.barrier()
    expected, inside = [], False
    for event in watcher.events:
        if event.member_changed.user_id == late.user_id:
            inside = bool(event.member_changed.role)
            expected.append(event.seq)
        elif inside:
            expected.append(event.seq)
    assert stream.event_seqs(channel_id) == expected
    assert len(expected) == 21
    for open_stream in (stream, watcher):
        open_stream.cancel()


async def test_nothing_is_lost_or_doubled_around_a_streams_start(client: RawClient) -> None:
    """While a sender runs flat out, forty streams are started: for each the digest's head and the events that
    follow are dense, without a hole and without a repeat.

    Planted once: with the session's heads one too high an event was missing after each start. (Joining the
    hub late is not enough: the feed's positions show the hole, and it is filled.)
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_ids = [await client.group(alice, [bob]) for _ in range(3)]
    sender = await client.connect(alice)
    running = True

    async def send() -> None:
        request_id = 0
        while running:
            for _ in range(24):
                request_id += 1
                channel_id = channel_ids[request_id % 3]
                await sender.send(request_id=request_id, send_message=message(channel_id))
            await sender.until(lambda last=request_id: len(sender.replies) == last)  # type: ignore[misc]

    async def join(number: int) -> None:
        stream = await (client.connect(bob) if number % 2 else client.subscribe(bob))
        heads = {
            head.channel_id: head.head_seq for control in stream.controls for head in control.digest.heads
        }
        assert set(heads) == set(channel_ids)
        await stream.until(lambda: all(len(stream.event_seqs(channel_id)) >= 5 for channel_id in channel_ids))
        for channel_id in channel_ids:
            seqs = stream.event_seqs(channel_id)
            assert seqs == list(range(heads[channel_id] + 1, heads[channel_id] + 1 + len(seqs)))
        stream.cancel()

    sending = asyncio.ensure_future(send())
    for start in range(0, 40, 8):
        await asyncio.gather(*map(join, range(start, start + 8)))
    running = False
    await sending
    sender.cancel()


async def test_channels_made_while_a_stream_starts_are_not_missed(client: RawClient) -> None:
    """A group made around the start of a stream is in the digest, or its joining is an event, never both."""
    alice, bob = await client.sign_up(), await client.sign_up()
    streams = []
    channel_ids = []

    async def join() -> None:
        streams.append(await client.connect(bob))

    async def make() -> None:
        channel_ids.append(await client.group(alice, [bob]))

    for _ in range(10):
        await asyncio.gather(join(), make(), make())
    for stream in streams:
        await stream.barrier()
        heads = {
            head.channel_id: head.head_seq for control in stream.controls for head in control.digest.heads
        }
        for channel_id in channel_ids:
            # The stream of a channel begins with the event that made its user a member: here the third.
            expected = [] if heads.get(channel_id) == 3 else [3]
            await stream.until(lambda: len(stream.event_seqs(channel_id)) >= len(expected))  # noqa: B023 - read at once
            assert stream.event_seqs(channel_id) == expected, heads.get(channel_id)
        stream.cancel()


async def test_read_positions_reach_the_users_other_devices(client: RawClient) -> None:
    """Raised on a stream, by unary call, smaller, and while another device's stream starts: each device ends
    with the largest; nobody else's stream says anything.

    Planted once: with the position told to the calling session alone, the tablet kept 4.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    tablet = await client.log_in(alice.username)
    channel_id = await client.direct(alice, bob)
    for _ in range(30):
        await client.send(bob, channel_id)
    phone, other = await client.connect(alice), await client.connect(bob)
    watching = await client.subscribe(tablet)
    joined: list[RawStream] = []

    def position(stream: RawStream) -> int:
        return max(
            [
                *(head.read_seq for control in stream.controls for head in control.digest.heads),
                *(c.read_position.read_seq for c in stream.controls if c.HasField("read_position")),
            ]
        )

    async def join() -> None:
        joined.append(await client.connect(tablet))

    for seq in range(4, 34, 3):
        mark = message_requests_pb2.MarkReadRequest(channel_id=channel_id, seq=seq)
        reply, _ = await asyncio.gather(phone.ask(mark_read=mark), join())
        assert reply.mark_read.read_seq == seq
    smaller = message_requests_pb2.MarkReadRequest(channel_id=channel_id, seq=5)
    answer = await client.chat.MarkRead(smaller, metadata=tablet.metadata)
    assert (answer.read_seq, answer.read_message_no) == (31, 28)
    await watching.until(lambda: position(watching) == 31)
    for stream in (phone, *joined):
        await stream.until(lambda stream=stream: position(stream) == 31)  # type: ignore[misc]
    await other.barrier()
    assert position(other) == 0
    members = await client.channels.ListMembers(
        channels.ListMembersRequest(channel_id=channel_id), metadata=bob.metadata
    )
    assert {member.user_id: member.read_seq for member in members.members} == {
        alice.user_id: 31,
        bob.user_id: 0,
    }
    for stream in (phone, watching, other, *joined):
        stream.cancel()
