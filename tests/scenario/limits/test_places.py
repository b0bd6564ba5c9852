"""Places for streams, of a node and of one user in it: given, refused, and given back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.rpc import error_details_pb2

from parley.chat.v1 import stream_pb2
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient, StreamEnded

if TYPE_CHECKING:
    from tests.scenario.conftest import StartNode

RETRY_INFO = error_details_pb2.RetryInfo


async def test_one_stream_too_many_is_told_and_the_others_go_on(start_node: StartNode) -> None:
    """limits.streams is 2: the third gets SERVER_BUSY with RetryInfo, and a place when one has gone.

    Planted once: with `closed` not giving the place back, the fourth was never let in.
    """
    node = await start_node(CHEAP_PASSWORDS, **{"limits.streams": 2})
    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.direct(alice, bob)
        one, two = await client.connect(alice), await client.subscribe(bob)
        for third in (client.open(alice.metadata), client.open_subscribe(alice)):
            outcome = await third.end()
            assert outcome.brief == ("RESOURCE_EXHAUSTED", "SERVER_BUSY")
            assert outcome.detail(RETRY_INFO) is not None
        await one.barrier()
        sent = await client.send(alice, channel_id)
        await two.until(lambda: two.event_seqs(channel_id))
        assert two.event_seqs(channel_id) == [sent.seq]
        one.cancel()
        async with asyncio.timeout(10):
            while True:
                try:
                    fourth = await client.connect(alice)
                    break
                except StreamEnded:
                    await asyncio.sleep(0.01)
        await fourth.barrier()
        for stream in (two, fourth):
            stream.cancel()
    await node.stop()


async def test_one_user_cannot_take_every_place(start_node: StartNode) -> None:
    """Streams of one user are bounded below those of the node, with Hello or without, and a place comes free
    with the stream. Planted once: without the bound the fifth stream was let in and waited for its Hello.
    """
    node = await start_node(CHEAP_PASSWORDS, **{"limits.streams": 6, "limits.streams_per_user": 4})
    async with RawClient(node.address) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        tablet = await client.log_in(alice.username)
        held = [await client.connect(person) for person in (alice, alice, tablet, tablet)]
        refused = await client.open(alice.metadata).end()
        assert refused.brief == ("RESOURCE_EXHAUSTED", "SERVER_BUSY")
        assert refused.detail(error_details_pb2.RetryInfo) is not None
        (await client.connect(bob)).cancel()
        await held[0].send(goodbye=stream_pb2.Goodbye())
        assert (await held[0].end()).brief == ("OK", "")
        (await client.connect(tablet)).cancel()
