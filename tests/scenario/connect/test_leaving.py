"""Clients that leave: with a goodbye, by closing, or without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import stream_pb2
from parley_server.testing.raw_client import Person, RawClient, message

if TYPE_CHECKING:
    from parley_server.testing.node_process import NodeProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = stream_pb2.Hello()
OK = ("OK", "")


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
