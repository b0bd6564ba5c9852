"""Devices that do not take what is sent to them: they lag, or are let go, and nobody else is disturbed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from google.rpc import error_details_pb2

from parley_server.testing.longest_texts import LONGEST_TEXTS
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient, StreamEnded

if TYPE_CHECKING:
    from tests.scenario.conftest import StartNode

    from parley_server.testing.raw_client import RawStream

RETRY_INFO = error_details_pb2.RetryInfo
# Some 370 KB each, with room for a number behind it.
LARGE = LONGEST_TEXTS["emoji"][:-2]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_slow_reader_lags_and_misses_nothing_and_nobody_else_is_disturbed(client: RawClient) -> None:
    """One device stops reading while 40 messages of 400 KB come: the others get each at once. When it reads
    again it is told that it lagged, gets every message once and in order, and CaughtUp.

    Found by this: an event that did not fit beside what waited made the node spin for ever.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.group(alice, [bob])
    async with RawClient(client.address) as own_connection:
        slow = await own_connection.connect(bob)
        quick = await client.connect(bob)
        sent = []
        for number in range(40):
            answer = await client.send(alice, channel_id, LARGE + f"{number:02}")
            sent.append(answer.seq)
            await quick.until(lambda seq=answer.seq: seq in quick.event_seqs(channel_id))  # type: ignore[misc]
        small = await client.send(alice, channel_id, "small")
        sent.append(small.seq)
        for stream in (slow, quick):
            await stream.until(lambda stream=stream: small.seq in stream.event_seqs(channel_id))  # type: ignore[misc]
        assert slow.event_seqs(channel_id) == sent
        assert slow.control("lagging").channel_ids == [channel_id]
        assert quick.event_seqs(channel_id) == sent
        for event, other in zip(slow.events, quick.events, strict=True):
            assert event == other
        await slow.until(lambda: sum(c.HasField("caught_up") for c in slow.controls) >= 2)
        await slow.barrier()
        after = await client.send(alice, channel_id, "live again")
        await slow.until(lambda: after.seq in slow.event_seqs(channel_id))
        for stream in (quick, slow):
            stream.cancel()


async def test_who_takes_nothing_at_all_is_let_go_and_holds_no_place(start_node: StartNode) -> None:
    """sessions.slow_reader_seconds is 1: a device that takes nothing for longer is ended with UNAVAILABLE
    (SLOW_READER), however late it reads that. Even one that never reads again gives its place back.

    Found by this: the place of a stream whose last bytes nobody took was held for ever.
    """
    settings = {"limits.streams": 3, "sessions.slow_reader_seconds": 1, "sessions.close_seconds": 1}
    node = await start_node(CHEAP_PASSWORDS, **settings)
    async with (
        RawClient(node.address) as client,
        RawClient(node.address) as one_connection,
        RawClient(node.address) as other_connection,
    ):
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.group(alice, [bob])
        reads_late = await one_connection.connect(bob)
        never_reads = await other_connection.connect(bob)
        bystander = await client.connect(alice)
        seqs: list[int] = []
        for number in range(20):
            seqs.append((await client.send(alice, channel_id, LARGE + f"{number:02}")).seq)
            await bystander.until(lambda: seqs[-1] in bystander.event_seqs(channel_id))
        # Until the reader's place is free nobody else is let in.
        newcomers: list[RawStream] = []
        async with asyncio.timeout(20):
            while len(newcomers) < 2:
                try:
                    newcomers.append(await client.connect(bob))
                except StreamEnded as ended:
                    assert ended.outcome.reason == "SERVER_BUSY"
                    await asyncio.sleep(0.05)
        outcome = await reads_late.end()
        assert outcome.brief == ("UNAVAILABLE", "SLOW_READER")
        assert outcome.detail(RETRY_INFO) is not None
        got = reads_late.event_seqs(channel_id)
        assert got == seqs[: len(got)]
        assert bystander.event_seqs(channel_id) == seqs
        for stream in (never_reads, bystander, *newcomers):
            stream.cancel()
    assert await node.stop() == 0
    assert "Traceback" not in node.stderr
