"""A user's devices on one node know the same: what one of them sends and reads, all are told."""

from __future__ import annotations

import asyncio
import random

import pytest

from parley.chat.v1 import message_requests_pb2
from parley_server.testing.raw_client import Person, RawClient, RawStream, message, uuid7

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _mark(client: RawClient, person: Person, channel_id: str, seq: int) -> int:
    request = message_requests_pb2.MarkReadRequest(channel_id=channel_id, seq=seq)
    return int((await client.chat.MarkRead(request, metadata=person.metadata)).read_seq)


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
