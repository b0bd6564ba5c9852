"""How much a stream may carry that is no call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.rpc import error_details_pb2

from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient, detail_of, message, reason_of

if TYPE_CHECKING:
    from pathlib import Path

RETRY_INFO = error_details_pb2.RetryInfo


async def test_a_stream_cannot_make_the_node_work_as_fast_as_it_can_write(tmp_path: Path) -> None:
    """Heartbeats and acknowledgements have a rate; a refused one does nothing, and messages go on. A client
    that goes on as well loses its stream, and nobody else is disturbed. Planted: no rate for them; no end.
    """
    settings = {"rates.frame": {"per_minute": 1, "burst": 5}, "limits.refusals_per_stream": 10}
    node = NodeProcess(tmp_path / "node", settings, (CHEAP_PASSWORDS,))
    await node.start()
    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.direct(alice, bob)
        stream, tablet, other = [await client.connect(person) for person in (alice, alice, bob)]
        acknowledgement = message_requests_pb2.AckEventsRequest(cursor=stream.cursor)
        for device in (stream, stream, tablet, tablet):
            assert (await device.ask(ack_events=acknowledgement)).HasField("ack_events")
        assert (await tablet.ask(heartbeat=stream_pb2.HeartbeatRequest())).HasField("heartbeat")
        reply = await stream.ask(ack_events=acknowledgement)
        assert reason_of(reply.error) == "RATE_LIMITED"
        retry = detail_of(reply.error, RETRY_INFO)
        assert retry is not None
        assert 0 < retry.retry_delay.ToTimedelta().total_seconds() <= 60
        assert (await stream.ask(send_message=message(channel_id))).send_message.seq

        for _ in range(11):
            await stream.send(heartbeat=stream_pb2.HeartbeatRequest())
        end = await stream.end()
        assert end.brief == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert end.detail(RETRY_INFO) is not None
        for device, person in ((tablet, alice), (other, bob)):
            assert (await device.ask(send_message=message(channel_id))).send_message.seq, person
        assert (await client.connect(alice)).welcome
    await node.close()
