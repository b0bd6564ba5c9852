"""A device that was away ends with what one that never left has: each way to resume, read off the wire."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from parley.channel.v1 import channel_service_pb2
from parley.chat.v1 import chat_service_pb2, message_requests_pb2, stream_pb2
from parley_server.testing.raw_client import Person, RawClient, RawStream, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.scenario.conftest import StartNode

    from parley_server.testing.node_process import NodeProcess


class Device:
    """A client by the book: keeps a cursor and a seq per channel, takes events, fetches what digests name."""

    def __init__(self, client: RawClient, person: Person) -> None:
        self.client = client
        self.person = person
        self.cursor = ""
        self.events: dict[str, list[int]] = defaultdict(list)
        self.resumes: list[str] = []
        self.read: dict[str, int] = {}
        self.stream: RawStream | None = None

    async def come(self, *, say_known: bool = True) -> str:
        """Connect and catch up. Returns how the stream resumed."""
        known = [
            stream_pb2.KnownChannel(channel_id=channel_id, seq=seqs[-1])
            for channel_id, seqs in self.events.items()
        ]
        self.stream = await self.client.connect(
            self.person, cursor=self.cursor, known_channels=known if say_known else []
        )
        resume = self.stream.welcome.WhichOneof("resume") or ""
        await self._take(start=not self.cursor and not self.events)
        self.resumes.append(resume)
        return resume

    async def go(self) -> None:
        """Leave in good order, with everything that came."""
        assert self.stream is not None
        await self.stream.send(goodbye=stream_pb2.Goodbye())
        assert (await self.stream.end()).brief == ("OK", "")
        await self._take(start=False)
        self.stream = None

    def vanish(self) -> None:
        """Be cut off: what was read is kept, nothing is said."""
        assert self.stream is not None
        self.stream.cancel()
        self.stream = None

    async def follow(self, channel_id: str, seq: int) -> None:
        """Read until the channel's event at `seq` came."""
        assert self.stream is not None
        stream = self.stream
        # It may have come while another channel was followed.
        await stream.until(lambda: seq in self.events[channel_id] or seq in stream.event_seqs(channel_id))
        await self._take(start=False)

    async def _take(self, *, start: bool) -> None:
        stream = self.stream
        assert stream is not None
        for control in stream.controls:
            for head in control.digest.heads:
                self.read[head.channel_id] = head.read_seq
                if start:
                    self.events[head.channel_id] = [head.head_seq]
                else:
                    await self._fetch(head)
            if control.HasField("read_position"):
                self.read[control.read_position.channel_id] = control.read_position.read_seq
        for event in stream.events:
            seqs = self.events[event.channel_id]
            if not seqs or event.seq > seqs[-1]:
                assert not seqs or event.seq == seqs[-1] + 1, f"hole before {event.seq}"
                seqs.append(event.seq)
        stream.controls = [control for control in stream.controls if control.HasField("welcome")]
        stream.events.clear()
        self.cursor = stream.cursor or self.cursor

    async def _fetch(self, head: stream_pb2.ChannelHead) -> None:
        seqs = self.events[head.channel_id]
        token = ""
        from_seq = seqs[-1] + 1 if seqs else head.joined_seq
        while True:
            answer = await self.client.chat.ListEvents(
                chat_service_pb2.ListEventsRequest(
                    channel_id=head.channel_id, from_seq=from_seq, page_size=200, page_token=token
                ),
                metadata=self.person.metadata,
            )
            seqs.extend(event.seq for event in answer.events)
            token = answer.next_page_token
            if not token:
                return


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


async def _send_many_quickly(client: RawClient, sender: Person, channel_id: str, count: int) -> int:
    """As `_send_many`, pipelined on streams."""

    async def run(share: int) -> int:
        stream = await client.connect(sender)
        sent = last = 0
        while sent < share or len(stream.replies) < sent:
            while sent < share and sent - len(stream.replies) < 30:
                sent += 1
                await stream.send(request_id=sent, send_message=message(channel_id, "x"))
            await stream.read()
            # The sender's own events are of no interest here, and many.
            stream.events.clear()
            stream.frames.clear()
        for reply in stream.replies.values():
            assert reply.send_message.seq, reply
            last = max(last, reply.send_message.seq)
        stream.cancel()
        return last

    # Every stream of the sender gets all events too: few are quicker than many.
    streams = 2
    return max(await asyncio.gather(*(run(count // streams) for _ in range(streams))))


async def _pair(client: RawClient) -> tuple[Person, Person, str]:
    ann, bob = await client.sign_up(), await client.sign_up()
    return ann, bob, await client.direct(ann, bob)


async def test_nothing_missed_is_continued(client: RawClient) -> None:
    ann, bob, channel_id = await _pair(client)
    device = Device(client, bob)
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
    stayed = Device(client, bob)
    device = Device(client, await client.log_in(bob.username))
    await stayed.come()
    await device.come()
    await device.go()
    last = await _send_many(client, ann, channel_id, count)
    assert await device.come() == "replayed"
    await stayed.follow(channel_id, last)
    assert device.events == stayed.events
    assert device.cursor == stayed.cursor


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_hundred_thousand_missed_events(start_node: StartNode) -> None:
    """Told by one head, fetched in pages of 200: as on the device that stayed and got each one live."""
    # The device that stays only reads.
    node = await start_node(**{"sessions.lease_seconds": 600})
    async with RawClient(node.address) as client:
        await _miss_a_hundred_thousand(client)


async def _miss_a_hundred_thousand(client: RawClient) -> None:
    ann, bob, channel_id = await _pair(client)
    stayed = Device(client, bob)
    device = Device(client, await client.log_in(bob.username))
    await stayed.come()
    await device.come()
    await device.go()
    stream = stayed.stream
    assert stream is not None
    following = asyncio.create_task(
        stream.until(lambda: stream.events and stream.events[-1].seq == 100_003, 200)
    )
    assert await _send_many_quickly(client, ann, channel_id, 100_000) == 100_003
    await following
    await stayed.follow(channel_id, 100_003)
    assert await device.come() == "digested"
    assert device.stream is not None
    assert sum(frame.ByteSize() for frame in device.stream.frames) < 64 * 1024
    assert device.events == stayed.events
    assert len(device.events[channel_id]) == 100_001
    await device.go()
    assert await device.come() == "continued"


async def _channels(client: RawClient, owner: Person, member: Person, count: int) -> list[str]:
    found: list[str] = []
    for start in range(0, count, 100):
        found += await asyncio.gather(
            *(client.group(owner, [member]) for _ in range(min(100, count - start)))
        )
    return found


async def _check_digests(client: RawClient, count: int) -> None:
    """RESET and DIGEST name what they must, newest activity first, in frames of at most 64 KiB."""
    ann, bob = await client.sign_up(), await client.sign_up()
    channels = await _channels(client, ann, bob, count)
    device = Device(client, bob)
    assert await device.come() == "reset"
    assert device.stream is not None
    assert set(device.events) == set(channels)
    _check_frames(device.stream)
    # The newest are known from before; half of the channels go on while the device is away.
    await device.go()
    active = channels[::2]
    for channel_id in active:
        await client.send(ann, channel_id)
    assert await device.come(say_known=False) == "digested"
    assert device.stream is not None
    _check_frames(device.stream)
    assert _told(device.stream) == list(reversed(active))
    stayed = Device(client, await client.log_in(bob.username))
    assert await stayed.come() == "reset"
    assert stayed.stream is not None
    _check_frames(stayed.stream)
    told = _told(stayed.stream)
    assert sorted(told) == sorted(channels)
    assert told[: len(active)] == list(reversed(active))
    assert {name: seqs[-1] for name, seqs in device.events.items()} == {
        name: seqs[-1] for name, seqs in stayed.events.items()
    }


def _told(stream: RawStream) -> list[str]:
    controls = [control for frame in stream.frames for control in frame.controls]
    return [head.channel_id for control in controls for head in control.digest.heads]


def _check_frames(stream: RawStream) -> None:
    for frame in stream.frames:
        assert frame.ByteSize() <= 64 * 1024 or len(frame.events) == 1


async def test_digests_come_newest_first(client: RawClient) -> None:
    """Caught when a reset's pages came in the order of the channel ids."""
    await _check_digests(client, 12)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_user_with_five_thousand_channels(client: RawClient) -> None:
    """Thirteen pages, none larger than a frame; half of it again after the device was away."""
    await _check_digests(client, 5000)


async def test_what_is_written_while_the_feed_is_silent_is_told_by_the_known_head(client: RawClient) -> None:
    """A client that states an older seq than the head lacks something, whatever its cursor says. Caught
    when only the feed was asked: an event announced just after the join was taken for had.
    """
    ann, bob, channel_id = await _pair(client)
    device = Device(client, bob)
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
    device = Device(client, bob)
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
    stayed = Device(client, bob)
    device = Device(client, await client.log_in(bob.username))
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
    device = Device(client, bob)
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
    device = Device(client, bob)
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
    own = Device(client, bob)
    await own.come()
    stranger = Device(client, await client.sign_up())
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
    device = Device(client, bob)
    await device.come()
    await device.follow(channel_id, (await client.send(ann, channel_id)).seq)
    await client.chat.AckEvents(
        message_requests_pb2.AckEventsRequest(cursor=device.cursor), metadata=bob.metadata
    )
    await device.go()
    await client.send(ann, channel_id)
    fresh = Device(client, bob)
    assert await fresh.come() == "digested"
    assert fresh.stream is not None
    assert fresh.events[channel_id] != []
    # Another device of the user has acknowledged nothing.
    assert await Device(client, await client.log_in(bob.username)).come() == "reset"


async def test_an_ack_on_the_stream_is_stored_when_the_stream_ends(client: RawClient) -> None:
    ann, bob, channel_id = await _pair(client)
    device = Device(client, bob)
    await device.come()
    await device.follow(channel_id, (await client.send(ann, channel_id)).seq)
    assert device.stream is not None
    reply = await device.stream.ask(ack_events=message_requests_pb2.AckEventsRequest(cursor=device.cursor))
    assert reply.HasField("ack_events")
    await device.go()
    # The position is stored behind the stream's back, within moments.
    async with asyncio.timeout(10):
        while await Device(client, bob).come() != "continued":
            pass


async def test_membership_that_changed_while_away(client: RawClient) -> None:
    """Removed: the removal is the last event. Added: the stream begins at the joining."""
    ann, bob, _ = await _pair(client)
    left, joined = await client.group(ann, [bob]), await client.group(ann)
    await client.send(ann, joined)
    device = Device(client, bob)
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
    device = Device(client, bob)
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
    device, stayed = Device(client, bob), Device(client, await client.log_in(bob.username))
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
