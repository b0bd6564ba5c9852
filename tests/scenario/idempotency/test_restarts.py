"""One client_message_id is one message, however often it comes, and also for a node that starts again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from parley.chat.v1 import message_requests_pb2
from parley_server.testing.raw_client import RawClient, message, outcome_of
from parley_server.testing.served_log import served_log

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tests.scenario.conftest import StartNode

    from parley_server.testing.raw_client import Person, RawStream

Sent = message_requests_pb2.SendMessageResponse


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
            events = await served_log(client, bob, channel_id)
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
