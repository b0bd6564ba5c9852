"""A device that was away ends with what one that never left has: each way to resume, read off the wire."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from parley.channel.v1 import channel_service_pb2
from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley_server.testing.raw_client import Person, RawClient
from parley_server.testing.raw_device import RawDevice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_server.testing.node_process import NodeProcess


@pytest.fixture
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    async with RawClient(node.address) as client:
        yield client


async def _send_many(client: RawClient, sender: Person, channel_id: str, count: int) -> int:
    """Send messages of one's own, many at once. Returns the last seq."""
    last = 0
    for start in range(0, count, 200):
        answers = await asyncio.gather(
            *(client.send(sender, channel_id) for _ in range(min(200, count - start)))
        )
        last = max(answer.seq for answer in answers)
    return last


async def _pair(client: RawClient) -> tuple[Person, Person, str]:
    ann, bob = await client.sign_up(), await client.sign_up()
    return ann, bob, await client.direct(ann, bob)


async def test_nothing_missed_is_continued(client: RawClient) -> None:
    ann, bob, channel_id = await _pair(client)
    device = RawDevice(client, bob)
    assert await device.come() == "reset"
    assert device.stream is not None
    assert device.stream.welcome.reset.reason == stream_pb2.RESET_REASON_NO_CURSOR
    await device.follow(channel_id, (await client.send(ann, channel_id)).seq)
    await device.go()
    assert await device.come() == "continued"


@pytest.mark.parametrize("count", [1, 1000])
async def test_what_was_missed_is_replayed_in_order(client: RawClient, count: int) -> None:
    """Caught when the session began at the head and not at what the client knew: the events were missing."""
    ann, bob, channel_id = await _pair(client)
    stayed = RawDevice(client, bob)
    device = RawDevice(client, await client.log_in(bob.username))
    await stayed.come()
    await device.come()
    await device.go()
    last = await _send_many(client, ann, channel_id, count)
    assert await device.come() == "replayed"
    await stayed.follow(channel_id, last)
    assert device.events == stayed.events
    assert device.cursor == stayed.cursor


async def test_what_is_written_while_the_feed_is_silent_is_told_by_the_known_head(client: RawClient) -> None:
    """A client that states an older seq than the head lacks something, whatever its cursor says. Caught
    when only the feed was asked: an event announced just after the join was taken for had.
    """
    ann, bob, channel_id = await _pair(client)
    device = RawDevice(client, bob)
    await device.come()
    last = await _send_many(client, ann, channel_id, 5)
    await device.follow(channel_id, last)
    await device.go()
    # As if the events had come by no stream.
    device.events[channel_id] = [3, 4, 5]
    assert await device.come() == "replayed"
    assert device.events[channel_id] == [3, 4, 5, 6, 7, 8]


async def test_a_channel_that_was_not_named_is_told_when_something_happens_in_it(client: RawClient) -> None:
    """Its head comes as a digest, later events as events."""
    ann, bob, channel_id = await _pair(client)
    device = RawDevice(client, bob)
    await device.come()
    await device.go()
    assert await device.come(say_known=False) == "continued"
    stream = device.stream
    assert stream is not None
    first = (await client.send(ann, channel_id)).seq
    await stream.until(lambda: any(control.HasField("digest") for control in stream.controls))
    assert [(head.channel_id, head.head_seq) for head in stream.control("digest").heads] == [
        (channel_id, first)
    ]
    await stream.caught_up()
    second = (await client.send(ann, channel_id)).seq
    await device.follow(channel_id, second)
    assert device.events[channel_id] == [3, first, second]


async def test_one_more_than_may_be_replayed_is_a_digest(client: RawClient) -> None:
    ann, bob, channel_id = await _pair(client)
    stayed = RawDevice(client, bob)
    device = RawDevice(client, await client.log_in(bob.username))
    await stayed.come()
    await device.come()
    await device.go()
    last = await _send_many(client, ann, channel_id, 1001)
    assert await device.come() == "digested"
    await stayed.follow(channel_id, last)
    assert device.events == stayed.events
    # The cursor that came after the digest is good: nothing is told twice.
    await device.go()
    assert await device.come() == "continued"


async def test_a_client_that_does_not_say_what_it_knows_gets_a_digest(client: RawClient) -> None:
    ann, bob, channel_id = await _pair(client)
    device = RawDevice(client, bob)
    await device.come()
    await device.go()
    await client.send(ann, channel_id)
    assert await device.come(say_known=False) == "digested"
    assert device.events[channel_id][-1] == 4


async def test_a_restarted_node_resets_and_the_client_loses_nothing(
    node: NodeProcess, client: RawClient
) -> None:
    """The embedded feed is lost with its process. Caught when the epoch stayed the same across a restart."""
    ann, bob, channel_id = await _pair(client)
    device = RawDevice(client, bob)
    await device.come()
    await client.send(ann, channel_id)
    device.vanish()
    await node.kill()
    await node.start()
    async with RawClient(node.address) as again:
        device.client = again
        await again.send(ann, channel_id)
        assert await device.come() == "reset"
        assert device.stream is not None
        assert device.stream.welcome.reset.reason == stream_pb2.RESET_REASON_EPOCH_CHANGED
        assert device.events[channel_id] == [3, 4, 5]


async def test_garbage_and_foreign_cursors_reset(client: RawClient) -> None:
    """Caught when a cursor was not bound to its user: another's position would have hidden events."""
    _, bob, _ = await _pair(client)
    own = RawDevice(client, bob)
    await own.come()
    stranger = RawDevice(client, await client.sign_up())
    for cursor in ("garbage", "1.00000000..5", own.cursor + "x", own.cursor, "\U0001f642"):
        stranger.cursor = cursor
        assert await stranger.come() == "reset", cursor
        assert stranger.stream is not None
        assert stranger.stream.welcome.reset.reason == stream_pb2.RESET_REASON_MALFORMED
    epoch = own.cursor.split(".")[2]
    ahead = own.cursor.replace(f".{epoch}.", f".{epoch}.99")
    own.cursor = ahead
    assert await own.come() == "reset"


async def test_a_device_that_lost_its_state_resumes_from_its_last_ack(client: RawClient) -> None:
    ann, bob, channel_id = await _pair(client)
    device = RawDevice(client, bob)
    await device.come()
    await device.follow(channel_id, (await client.send(ann, channel_id)).seq)
    await client.chat.AckEvents(
        message_requests_pb2.AckEventsRequest(cursor=device.cursor), metadata=bob.metadata
    )
    await device.go()
    await client.send(ann, channel_id)
    fresh = RawDevice(client, bob)
    assert await fresh.come() == "digested"
    assert fresh.stream is not None
    assert fresh.events[channel_id] != []
    # Another device of the user has acknowledged nothing.
    assert await RawDevice(client, await client.log_in(bob.username)).come() == "reset"


async def test_an_ack_on_the_stream_is_stored_when_the_stream_ends(client: RawClient) -> None:
    ann, bob, channel_id = await _pair(client)
    device = RawDevice(client, bob)
    await device.come()
    await device.follow(channel_id, (await client.send(ann, channel_id)).seq)
    assert device.stream is not None
    reply = await device.stream.ask(ack_events=message_requests_pb2.AckEventsRequest(cursor=device.cursor))
    assert reply.HasField("ack_events")
    await device.go()
    # The position is stored behind the stream's back, within moments.
    async with asyncio.timeout(10):
        while await RawDevice(client, bob).come() != "continued":
            pass


async def test_membership_that_changed_while_away(client: RawClient) -> None:
    """Removed: the removal is the last event. Added: the stream begins at the joining."""
    ann, bob, _ = await _pair(client)
    left, joined = await client.group(ann, [bob]), await client.group(ann)
    await client.send(ann, joined)
    device = RawDevice(client, bob)
    await device.come()
    await device.go()
    await client.send(ann, left)
    await client.channels.RemoveMember(
        channel_service_pb2.RemoveMemberRequest(channel_id=left, user_id=bob.user_id), metadata=ann.metadata
    )
    await client.send(ann, left)
    await client.channels.AddMembers(
        channel_service_pb2.AddMembersRequest(channel_id=joined, user_ids=[bob.user_id]),
        metadata=ann.metadata,
    )
    await client.send(ann, joined)
    # The channel that the client cannot know makes it a digest.
    assert await device.come() == "digested"
    assert device.events[left] == [3, 4, 5]
    assert device.events[joined] == [4, 5]
    await device.go()
    assert await device.come() == "continued"


async def test_read_positions_reach_a_device_that_was_away(client: RawClient) -> None:
    ann, bob, channel_id = await _pair(client)
    device = RawDevice(client, bob)
    await device.come()
    await device.follow(channel_id, (await client.send(ann, channel_id)).seq)
    await device.go()
    other = await client.log_in(bob.username)
    await client.chat.MarkRead(
        message_requests_pb2.MarkReadRequest(channel_id=channel_id, seq=4), metadata=other.metadata
    )
    assert await device.come() == "replayed"
    assert device.read[channel_id] == 4


async def test_coming_and_going_under_load_leaves_no_hole(client: RawClient) -> None:
    """A device that connects again and again while three senders run flat out: every event once, in order.

    Caught when the session listened only after the heads were read.
    """
    ann, bob, channel_id = await _pair(client)
    group = await client.group(ann, [bob])
    device, stayed = RawDevice(client, bob), RawDevice(client, await client.log_in(bob.username))
    await stayed.come()
    await device.come()
    done, sent = asyncio.Event(), asyncio.Event()

    async def run(sender: Person, where: str) -> int:
        last = 0
        while not done.is_set():
            last = (await client.send(sender, where)).seq
            sent.set()
        return last

    senders = [asyncio.create_task(run(*who)) for who in ((ann, channel_id), (bob, group), (ann, group))]
    for number in range(300):
        device.vanish()
        if number % 2:
            # Where coming is quicker than sending, nothing would ever be missed.
            sent.clear()
            await sent.wait()
        await device.come()
        if device.resumes.count("replayed") >= 10:
            break
    done.set()
    direct_last, *group_lasts = [await sender for sender in senders]
    await device.follow(channel_id, direct_last)
    await device.follow(group, max(group_lasts))
    await stayed.follow(channel_id, direct_last)
    await stayed.follow(group, max(group_lasts))
    assert device.events == stayed.events
    assert device.events[channel_id] == list(range(3, direct_last + 1))
    assert device.resumes.count("replayed") >= 10, device.resumes
