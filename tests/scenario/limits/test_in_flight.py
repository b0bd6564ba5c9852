"""Requests in flight: so many on a stream, so many for a channel, and the next is refused at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.rpc import error_details_pb2

from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient, detail_of, message, outcome_of, reason_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenario.conftest import StartNode

RETRY_INFO = error_details_pb2.RetryInfo


async def test_the_thirty_third_request_in_flight_is_answered_and_the_stream_goes_on(
    start_node: StartNode, planted: Path
) -> None:
    """32 sends wait for the log; the 33rd is told at once; once the log moves, all 32 are answered in order.

    Planted once: with the check removed the 33rd waited like the others, and this timed out.
    """
    node = await start_node(
        CHEAP_PASSWORDS, planted / "held_appends.py", **{"limits.waiting_per_channel": 40}
    )
    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.direct(alice, bob)
        elsewhere = await client.group(bob)
        stream, bystander = await client.connect(alice), await client.connect(bob)
        (node.data / "HOLD").touch()
        for request_id in range(1, 41):
            await stream.send(request_id=request_id, send_message=message(channel_id, f"{request_id}"))
        for request_id in range(33, 41):
            reply = await stream.reply(request_id)
            assert reply.error.code == 8
            assert reason_of(reply.error) == "TOO_MANY_IN_FLIGHT"
            assert detail_of(reply.error, RETRY_INFO) is not None
        assert len(stream.replies) == 8
        # A call that is no send counts as well. What needs no store does not, and whoever else is there is
        # not disturbed.
        mark_read = message_requests_pb2.MarkReadRequest(channel_id=channel_id, seq=1)
        assert reason_of((await stream.ask(mark_read=mark_read)).error) == "TOO_MANY_IN_FLIGHT"
        assert (await stream.ask(heartbeat=stream_pb2.HeartbeatRequest())).HasField("heartbeat")
        await bystander.barrier()
        inbox = await client.chat.GetInbox(chat.GetInboxRequest(), metadata=alice.metadata)
        assert len(inbox.entries) == 1

        # 40 writes wait for one channel: 32 of the stream's and these; one more is too many.
        more = [asyncio.ensure_future(outcome_of(client.send(bob, channel_id))) for _ in range(60)]
        async with asyncio.timeout(20):
            while sum(task.done() for task in more) < 19:
                await asyncio.wait(more, return_when=asyncio.FIRST_COMPLETED, timeout=0.1)
        refused = [task.result() for task in more if task.done()]
        assert {outcome.brief for outcome in refused} == {("RESOURCE_EXHAUSTED", "CHANNEL_BUSY")}
        assert all(outcome.detail(RETRY_INFO) for outcome in refused)

        (node.data / "HOLD").unlink()
        await stream.until(lambda: len(stream.replies) == 42)
        seqs = [stream.replies[request_id].send_message.seq for request_id in range(1, 33)]
        assert seqs == list(range(seqs[0], seqs[0] + 32))
        await asyncio.gather(*more)
        assert (await stream.ask(send_message=message(channel_id))).send_message.seq
        assert (await client.send(bob, elsewhere)).seq
        for open_stream in (stream, bystander):
            open_stream.cancel()
    assert await node.stop() == 0
    assert "Traceback" not in node.stderr
