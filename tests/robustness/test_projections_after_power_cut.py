"""What a power cut takes of the projections is there again before anybody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley.channel.v1 import channel_service_pb2
from parley.chat.v1 import chat_service_pb2
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient

if TYPE_CHECKING:
    from pathlib import Path


async def test_an_acknowledged_message_is_in_inboxes_after_a_power_cut(tmp_path: Path, planted: Path) -> None:
    """Nobody writes to the channel again, and nobody has to.

    Found by the durability run: the inbox ended one message before the log until the channel's next write.
    """
    plants = (planted / "power_cut.py", planted / "projections_last.py", CHEAP_PASSWORDS)
    node = NodeProcess(tmp_path / "node", plants=plants)
    try:
        await node.start()
        async with RawClient(node.address) as client:
            ann, ben = await client.sign_up("ann"), await client.sign_up("ben")
            channel_id = await client.direct(ann, ben)
            sent = await client.send(ann, channel_id, "the last words before the cut")
        await node.kill()
        await node.start()
        async with RawClient(node.address) as client:
            inbox = await client.chat.GetInbox(chat_service_pb2.GetInboxRequest(), metadata=ben.metadata)
            assert [entry.channel.head_seq for entry in inbox.entries] == [sent.seq]
            assert inbox.entries[0].last_message.message.text == "the last words before the cut"
            assert inbox.entries[0].unread_count == 1
            request = channel_service_pb2.GetChannelRequest(channel_id=channel_id)
            answer = await client.channels.GetChannel(request, metadata=ben.metadata)
            assert answer.channel.head_seq == sent.seq
            stream = await client.connect(ben)
            assert [head.head_seq for head in stream.control("digest").heads] == [sent.seq]
            stream.cancel()
        await node.stop()
    finally:
        await node.close()
