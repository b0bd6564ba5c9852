"""Slow readers: bounded memory, nothing lost, nobody else disturbed; the largest messages on every path."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import urllib.request
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import psutil
import pytest

from parley.chat.v1 import chat_service_pb2, stream_pb2
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient, RawStream, message

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from parley_server.testing.raw_client import Person

LARGEST_TEXT = "\U0001f642" * 100_000
FRAME_BYTES = 64 * 1024
PAGE_BYTES = 1024 * 1024
TEXT = "x" * 300


LONG_STALL_SECONDS = float(os.environ.get("PARLEY_TEST_STALL_SECONDS", "8"))


async def _pump(stream: RawStream, channel_id: str, per_second: float, seconds: float) -> int:
    """Send at a steady rate on one stream, as far as requests in flight allow. Returns how many were sent."""
    started, sent = time.monotonic(), 0
    first_id = 1
    while (passed := time.monotonic() - started) < seconds:
        while sent < passed * per_second and sent - len(stream.replies) < 30:
            await stream.send(request_id=first_id + sent, send_message=message(channel_id, TEXT))
            sent += 1
        if len(stream.replies) < sent:
            await stream.read()
        else:
            await asyncio.sleep(0.002)
    await stream.until(lambda: len(stream.replies) == sent)
    assert not any(reply.HasField("error") for reply in stream.replies.values())
    return sent


async def _rates(
    client: RawClient, senders: Sequence[tuple[Person, str]], per_second: float, seconds: float
) -> int:
    streams = [await client.connect(person) for person, _ in senders]
    counts = await asyncio.gather(
        *(
            _pump(stream, channel_id, per_second / len(senders), seconds)
            for stream, (_, channel_id) in zip(streams, senders, strict=True)
        )
    )
    for stream in streams:
        stream.cancel()
    return sum(counts)


async def _stalled(
    tmp_path: Path, *, stalled: int, seconds: float, per_second: float, growth_limit_bytes: int
) -> None:
    # The loop's debugging would make this process, and not the node, what the healthy reader waits for.
    asyncio.get_running_loop().set_debug(False)
    # Whoever only reads, or not even that, must not be taken for gone.
    node = NodeProcess(tmp_path / "node", {"sessions.lease_seconds": 600}, (CHEAP_PASSWORDS,))
    await node.start()
    memory = psutil.Process(node.pid)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(node.close)
        client = await stack.enter_async_context(RawClient(node.address))
        ann, bob, healthy_person = [await client.sign_up() for _ in range(3)]
        channel_id = await client.group(ann, [bob, healthy_person])
        readers = []
        for _ in range(stalled):
            connection = await stack.enter_async_context(RawClient(node.address, reads_ahead=False))
            readers.append(await connection.connect(bob))
        own = await stack.enter_async_context(RawClient(node.address))
        healthy = await own.connect(healthy_person)
        before = memory.memory_info().rss
        sending = asyncio.create_task(_rates(client, [(ann, channel_id)] * 4, per_second, seconds))
        lateness: list[float] = []
        # One read goes on all the time: to cancel it would end the call.
        reading = asyncio.create_task(healthy.read())
        while not sending.done():
            await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                now_ms = time.time() * 1000
                lateness += [now_ms - event.create_time_ms for event in reading.result().events]
                reading = asyncio.create_task(healthy.read())
        sent = await sending
        after = memory.memory_info().rss
        last = 4 + sent
        async with asyncio.timeout(60):
            while not (healthy.events and healthy.events[-1].seq == last):
                await reading
                reading = asyncio.create_task(healthy.read())
        reading.cancel()
        await asyncio.wait([reading])
        assert healthy.event_seqs(channel_id) == list(range(5, last + 1))
        lateness.sort()
        sys.stdout.write(
            f"\n{stalled} stalled readers, {sent} messages in {seconds:g} s ({sent / seconds:.0f}/s): "
            f"RSS {before / 2**20:.0f} -> {after / 2**20:.0f} MiB; "
            f"a healthy reader got them after {lateness[len(lateness) // 2]:.0f} ms (median)\n"
        )
        assert after - before < growth_limit_bytes
        assert lateness[len(lateness) // 2] < 1000
        for reader in readers:
            await reader.until(lambda reader=reader: reader.events and reader.events[-1].seq == last, 120)  # type: ignore[misc]
            assert reader.event_seqs(channel_id) == list(range(5, last + 1))
            lagging = reader.control("lagging")
            assert list(lagging.channel_ids) == [channel_id]
            assert lagging.dropped_events > 0
            await reader.until(
                lambda reader=reader: sum(c.HasField("caught_up") for c in reader.controls) >= 2  # type: ignore[misc]
            )
            for stream_frame in reader.frames:
                assert stream_frame.ByteSize() <= FRAME_BYTES
    assert "Traceback" not in node.stderr


async def test_stalled_readers_cost_bounded_memory_and_end_complete(tmp_path: Path) -> None:
    """Caught when an outbox dropped without saying so (the readers had holes), and when it had no bound."""
    await _stalled(tmp_path, stalled=5, seconds=4.0, per_second=2000, growth_limit_bytes=40 * 2**20)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_readers_that_stall_for_longer(tmp_path: Path) -> None:
    """As above, for longer: the cost does not grow with what they miss. `make bench` stalls for a minute.

    Planted: an outbox without a bound, which takes 52 MiB for this.
    """
    await _stalled(
        tmp_path, stalled=20, seconds=LONG_STALL_SECONDS, per_second=2000, growth_limit_bytes=40 * 2**20
    )


def _check_frames(stream: RawStream) -> None:
    for frame in stream.frames:
        assert frame.ByteSize() <= FRAME_BYTES or len(frame.events) == 1


async def test_a_channel_full_of_the_largest_messages_takes_every_path(tmp_path: Path) -> None:
    """Live, replayed, digested, in history and after a lag: no frame is larger than 64 KiB unless it
    carries one event, no page larger than 1 MiB, and every text is whole.
    """
    node = NodeProcess(tmp_path / "node", {}, (CHEAP_PASSWORDS,))
    await node.start()
    async with (
        RawClient(node.address) as client,
        RawClient(node.address, reads_ahead=False) as own_connection,
    ):
        ann, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.direct(ann, bob)
        start = await client.connect(bob)
        cursor, known = start.cursor, [stream_pb2.KnownChannel(channel_id=channel_id, seq=3)]
        start.cancel()
        stalled = await own_connection.connect(bob)
        live = await client.connect(bob)
        seqs = []
        for number in range(12):
            seqs.append((await client.send(ann, channel_id, f"{number:02}" + LARGEST_TEXT[2:])).seq)
            seqs.append((await client.send(ann, channel_id, "small")).seq)
            await live.until(lambda: seqs[-1] in live.event_seqs(channel_id))
        replayed = await client.connect(bob, cursor=cursor, known_channels=known)
        assert replayed.welcome.HasField("replayed")
        digested = await client.connect(bob, cursor=cursor)
        assert digested.welcome.HasField("digested")
        await stalled.until(lambda: seqs[-1] in stalled.event_seqs(channel_id))
        assert stalled.control("lagging").dropped_events > 0
        for stream in (live, replayed, stalled):
            assert stream.event_seqs(channel_id) == seqs
            assert list(stream.events) == list(live.events)
            _check_frames(stream)
        listed: list[int] = []
        token = ""
        while True:
            page = await client.chat.ListEvents(
                chat_service_pb2.ListEventsRequest(
                    channel_id=channel_id, from_seq=4, page_size=200, page_token=token
                ),
                metadata=bob.metadata,
            )
            assert page.ByteSize() <= PAGE_BYTES + 200 or len(page.events) == 1
            listed += [event.seq for event in page.events]
            token = page.next_page_token
            if not token:
                break
        assert listed == seqs
        for stream in (live, replayed, digested, stalled):
            stream.cancel()
    assert await node.stop() == 0
    assert "Traceback" not in node.stderr
    await node.close()


async def _ended_slow_readers(node: NodeProcess) -> int:
    page = await asyncio.to_thread(urllib.request.urlopen, f"http://{node.metrics_address}/metrics")
    for line in page.read().decode().splitlines():
        if line.startswith('parley_streams_ended_total{reason="SLOW_READER"}'):
            return int(float(line.rpartition(" ")[2]))
    return 0


async def test_who_asks_and_never_reads_is_ended(tmp_path: Path) -> None:
    """Replies wait outside the bound for events; their number has one of its own. Without it the node's
    memory grows as long as the client asks.
    """
    node = NodeProcess(tmp_path / "node", {"metrics_listen": "127.0.0.1:0"}, (CHEAP_PASSWORDS,))
    await node.start()
    memory = psutil.Process(node.pid)
    async with RawClient(node.address) as client, RawClient(node.address, reads_ahead=False) as own:
        ann = await client.sign_up()
        stream = await own.connect(ann)
        before = memory.memory_info().rss
        bad = message("no-such-channel")
        encoded = stream_pb2.ConnectRequest(request_id=1, send_message=bad).SerializeToString()
        asked = 0
        # The client learns of its end only when it reads.
        while await _ended_slow_readers(node) == 0:
            for _ in range(500):
                await stream.send_bytes(encoded)
            asked += 500
            assert asked < 50_000, "it may ask for ever"
        after = memory.memory_info().rss
        grown_mib = (after - before) / 2**20
        sys.stdout.write(f"\nended after {asked} requests; RSS grew by {grown_mib:.0f} MiB\n")
        assert after - before < 50 * 2**20
        other = await client.connect(ann)
        await other.barrier()
        other.cancel()
        stream.cancel()
    assert await node.stop() == 0
    await node.close()
