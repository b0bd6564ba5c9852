"""Per channel one order, the same for everybody, and a stream's own messages in the order it sent them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from parley.chat.v1 import chat_service_pb2 as chat
from parley_server.testing.raw_client import message
from parley_server.testing.served_log import served_log

if TYPE_CHECKING:
    from parley_server.testing.raw_client import RawClient, RawStream

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _pipeline(stream: RawStream, requests: list[tuple[int, str, str]]) -> None:
    """Send (request_id, channel_id, text) as fast as 32 in flight allow."""
    for request_id, channel_id, text in requests:
        await stream.until(lambda so_far=request_id: so_far - 1 - len(stream.replies) < 32)  # type: ignore[misc]
        await stream.send(request_id=request_id, send_message=message(channel_id, text))
    await stream.until(lambda: len(stream.replies) == len(requests))


async def test_pipelined_messages_keep_their_order_in_each_channel(client: RawClient) -> None:
    """200 messages over three channels on one stream, large and small: each channel has its own in the order
    in which they were sent.

    Planted once: with the tasks of a stream racing for the channel's queue the order was lost.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_ids = [await client.group(alice, [bob]) for _ in range(3)]
    stream = await client.connect(alice)
    plan = [
        (number, channel_ids[number * number % 3], f"{number:03} " + "x" * (20_000 if number % 7 == 0 else 1))
        for number in range(1, 201)
    ]
    await _pipeline(stream, plan)
    for channel_id in channel_ids:
        numbers = [number for number, wanted, _ in plan if wanted == channel_id]
        seqs = [stream.replies[number].send_message.seq for number in numbers]
        assert seqs == list(range(4, 4 + len(numbers)))
    stream.cancel()


async def test_everybody_sees_one_order(client: RawClient) -> None:
    """Four senders at once: their streams, a Subscribe, and the history agree on every event, dense from 1,
    with times that never go back and message numbers that count the messages.
    """
    people = [await client.sign_up() for _ in range(4)]
    channel_id = await client.group(people[0], people[1:])
    streams = [await client.connect(person) for person in people]
    watcher = await client.subscribe(people[0])
    plans = [[(number, channel_id, f"{sender}:{number}") for number in range(1, 51)] for sender in range(4)]
    await asyncio.gather(*map(_pipeline, streams, plans))
    listed = await served_log(client, people[3], channel_id, page_size=33)
    assert [event.seq for event in listed] == list(range(1, 206))
    assert [event.message_no for event in listed] == [max(0, seq - 5) for seq in range(1, 206)]
    times = [event.create_time_ms for event in listed]
    assert times == sorted(times)
    for sender, stream in enumerate(streams):
        texts = [event.message.text for event in listed if event.actor_id == people[sender].user_id]
        assert [text for text in texts if text] == [f"{sender}:{number}" for number in range(1, 51)]
        await stream.until(lambda stream=stream: len(stream.events) == 200)  # type: ignore[misc]
        assert stream.events == listed[5:]
        stream.cancel()
    await watcher.until(lambda: len(watcher.events) == 200)
    assert watcher.events == listed[5:]
    watcher.cancel()


async def test_what_was_acknowledged_is_in_every_read_at_once(client: RawClient) -> None:
    """Read your writes: after each reply the message is in GetMessage, both lists, the inbox and the heads of
    a new stream.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    for number in range(1, 21):
        sent = await client.send(alice, channel_id, f"{number}")
        reads = await asyncio.gather(
            *(
                _answer(client, method, request, bob.metadata)
                for method, request in (
                    ("GetMessage", chat.GetMessageRequest(channel_id=channel_id, seq=sent.seq)),
                    ("ListMessages", chat.ListMessagesRequest(channel_id=channel_id, page_size=1)),
                    ("ListEvents", chat.ListEventsRequest(channel_id=channel_id, from_seq=sent.seq)),
                    ("GetInbox", chat.GetInboxRequest()),
                )
            )
        )
        event = reads[0].event
        assert event.message.text == f"{number}"
        assert list(reads[1].events) == list(reads[2].events) == [event]
        entry = reads[3].entries[0]
        assert (entry.last_message, entry.unread_count, entry.channel.head_seq) == (event, number, sent.seq)
    stream = await client.connect(bob)
    assert stream.control("digest").heads[0].head_seq == sent.seq
    stream.cancel()


async def _answer(client: RawClient, method: str, request: object, metadata: object) -> Any:
    return await getattr(client.chat, method)(request, metadata=metadata)
