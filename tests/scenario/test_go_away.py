"""How the node keeps streams and lets them go: pings, leases, and GoAway when it leaves."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import grpc.aio
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2

from parley.chat.v1 import chat_service_pb2, stream_pb2
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient, RawStream, StreamEnded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from parley_server.testing.raw_client import Person

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEARTBEAT_SECONDS = 1.0
LEASE_SECONDS = 3.0
BACKGROUND_LEASE_SECONDS = 6.0
# Streams are looked at once a second; the rest is for a busy machine.
LATE_SECONDS = 1.0 + 1.5
SPREAD_SECONDS = 0.1
LEASE_EXPIRED = ("UNAVAILABLE", "LEASE_EXPIRED")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RawClient]:
    """A connection to a node with quick pings and short leases."""
    node = NodeProcess(
        tmp_path_factory.mktemp("pings") / "node",
        {
            "sessions.heartbeat_seconds": HEARTBEAT_SECONDS,
            "sessions.lease_seconds": LEASE_SECONDS,
            "sessions.background_lease_seconds": BACKGROUND_LEASE_SECONDS,
        },
        (CHEAP_PASSWORDS,),
    )
    await node.start()
    async with RawClient(node.address) as client:
        yield client
    await node.close()
    assert "Traceback" not in node.stderr


@pytest_asyncio.fixture(loop_scope="module")
async def leaving(tmp_path: Path) -> AsyncIterator[NodeProcess]:
    """A node for one test, whose clients come back within a tenth of a second."""
    node = NodeProcess(
        tmp_path / "node", {"sessions.reconnect_spread_seconds": SPREAD_SECONDS}, (CHEAP_PASSWORDS,)
    )
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr


def _pings(stream: RawStream) -> list[str]:
    return [control.ping.cursor for control in stream.controls if control.HasField("ping")]


async def test_pings_come_with_the_newest_cursor(client: RawClient) -> None:
    """Welcome says how often; on Connect and on Subscribe they come that often, each with the cursor of what
    the user got last: that of the other device, too, which read on.

    Planted once: a ping with the cursor of the stream's start; found by the second. And with the interval
    taken five times as long; found by the time.
    """
    phone, bob = await client.sign_up(), await client.sign_up()
    tablet = await client.log_in(phone.username)
    channel_id = await client.direct(phone, bob)
    renewing = asyncio.Event()
    streams = [await client.connect(phone), await client.subscribe(tablet)]

    async def renew() -> None:
        request = stream_pb2.HeartbeatRequest(session_id=streams[1].welcome.session_id, foreground=True)
        while not renewing.is_set():
            await client.chat.Heartbeat(request, metadata=tablet.metadata)
            await streams[0].send(pong=stream_pb2.Pong())
            await asyncio.sleep(0.5)

    async def follow(stream: RawStream) -> None:
        interval = stream.welcome.heartbeat_interval.ToTimedelta().total_seconds()
        assert interval == HEARTBEAT_SECONDS
        for _ in range(3):
            before, sent = stream.cursor, await client.send(bob, channel_id)
            await stream.until(
                lambda: sent.seq in stream.event_seqs(channel_id) and stream.cursor != before  # noqa: B023 - read at once
            )
            count, started = len(_pings(stream)), time.monotonic()
            await stream.until(lambda: len(_pings(stream)) > count)  # noqa: B023 - read at once
            assert time.monotonic() - started < interval + LATE_SECONDS
            # Nothing else is under way for this user but the other stream's message, which came or will come.
            assert _pings(stream)[-1] != before
        assert len(_pings(stream)) <= 3 * (interval + LATE_SECONDS) + 1

    renewal = asyncio.ensure_future(renew())
    await asyncio.gather(*map(follow, streams))
    last = await client.send(bob, channel_id)
    for stream in streams:
        await stream.until(lambda stream=stream: last.seq in stream.event_seqs(channel_id))  # type: ignore[misc]
        count = len(_pings(stream))
        await stream.until(lambda stream=stream, count=count: len(_pings(stream)) > count + 1)  # type: ignore[misc]
    assert {_pings(stream)[-1] for stream in streams} == {streams[0].cursor} == {streams[1].cursor}
    renewing.set()
    await renewal
    for stream in streams:
        stream.cancel()


async def _hello(client: RawClient, person: Person, *, foreground: bool) -> RawStream:
    stream = client.open(person.metadata)
    await stream.send(hello=stream_pb2.Hello(foreground=foreground))
    await stream.caught_up()
    return stream


async def _silent(stream: RawStream) -> float:
    """How long the silent stream lasts, having seen that it is told why it ends."""
    started = time.monotonic()
    outcome = await stream.end()
    assert outcome.brief == LEASE_EXPIRED
    retry = outcome.detail(error_details_pb2.RetryInfo)
    assert retry is not None
    assert retry.retry_delay.ToNanoseconds() == 0
    go_away = stream.frames[-1].controls[-1].go_away
    assert (go_away.reason, go_away.resumable) == (stream_pb2.GO_AWAY_REASON_LEASE_EXPIRED, True)
    return time.monotonic() - started


async def test_the_lease_is_that_of_what_the_client_said_last(client: RawClient) -> None:
    """In the foreground or the background by Hello, by a heartbeat on the stream or by the unary one; a pong
    keeps which. Each silent stream ends with LEASE_EXPIRED after its own lease, not before.

    Planted once: Hello's foreground passed over; what began in the background ended early. And a pong that
    brings into the foreground. And RetryInfo for NODE_STOPPING only, which made the others wait a second.
    """
    phone = await client.sign_up()
    front, back = (
        await _hello(client, phone, foreground=True),
        await _hello(client, phone, foreground=False),
    )
    to_back, to_front = (
        await _hello(client, phone, foreground=True),
        await _hello(client, phone, foreground=False),
    )
    unary_back, unary_front = await client.subscribe(phone), await client.subscribe(phone)
    pong_back = await _hello(client, phone, foreground=False)
    await to_back.ask(heartbeat=stream_pb2.HeartbeatRequest(foreground=False))
    await to_front.ask(heartbeat=stream_pb2.HeartbeatRequest(foreground=True))
    for stream, states in ((unary_back, [False]), (unary_front, [False, True])):
        for foreground in states:
            request = stream_pb2.HeartbeatRequest(session_id=stream.welcome.session_id, foreground=foreground)
            await client.chat.Heartbeat(request, metadata=phone.metadata)
    await pong_back.send(pong=stream_pb2.Pong())
    in_front, in_back = (front, to_front, unary_front), (back, to_back, unary_back, pong_back)
    lasted = await asyncio.gather(*map(_silent, (*in_front, *in_back)))
    slack = 1.0
    for seconds in lasted[: len(in_front)]:
        assert LEASE_SECONDS - slack < seconds < LEASE_SECONDS + LATE_SECONDS, lasted
    for seconds in lasted[len(in_front) :]:
        assert BACKGROUND_LEASE_SECONDS - slack < seconds < BACKGROUND_LEASE_SECONDS + LATE_SECONDS, lasted


async def _all_events(client: RawClient, person: Person, channel_id: str, from_seq: int) -> list[int]:
    request = chat_service_pb2.ListEventsRequest(channel_id=channel_id, from_seq=from_seq, page_size=200)
    seqs: list[int] = []
    while True:
        answer = await client.chat.ListEvents(request, metadata=person.metadata)
        seqs.extend(event.seq for event in answer.events)
        request.page_token = answer.next_page_token
        if not request.page_token:
            return seqs


async def test_a_leaving_node_spreads_its_clients_and_they_lose_nothing(leaving: NodeProcess) -> None:
    """Forty streams of eight people while messages flow. At SIGTERM each stream gets one GoAway as its last
    frame: NODE_STOPPING, resumable, a moment of its own to come back that is within the spread; the status
    says UNAVAILABLE and the same moment in RetryInfo. After the start each comes back with its cursor, is
    reset because the epoch is another, fetches what it lacks, and has every event once and in order, the
    acknowledged messages among them; then it follows live.

    Planted once: no random part in the slots, all moments were the same; slots beyond the setting; GoAway
    twice; a RetryInfo of its own; GoAway that is not resumable.
    """
    async with RawClient(leaving.address) as client:
        people = [await client.sign_up() for _ in range(8)]
        channel_ids = [await client.group(people[0], people[1:]) for _ in range(2)]
        owners = people * 5
        streams = [
            await (client.connect(person) if place % 3 else client.subscribe(person))
            for place, person in enumerate(owners)
        ]
        acknowledged: dict[str, list[int]] = defaultdict(list)

        async def send(person: Person, channel_id: str) -> None:
            while True:
                try:
                    acknowledged[channel_id].append((await client.send(person, channel_id)).seq)
                except grpc.aio.AioRpcError as error:
                    assert error.code().name in ("UNAVAILABLE", "CANCELLED"), error
                    return

        async def leave(stream: RawStream) -> float:
            outcome = await stream.end()
            assert outcome.brief == ("UNAVAILABLE", "NODE_STOPPING")
            told = [control.go_away for control in stream.controls if control.HasField("go_away")]
            assert len(told) == 1
            assert stream.frames[-1].controls[-1].go_away == told[0]
            assert told[0].reason == stream_pb2.GO_AWAY_REASON_NODE_STOPPING
            assert told[0].resumable
            retry = outcome.detail(error_details_pb2.RetryInfo)
            assert retry is not None
            after = told[0].reconnect_after.ToTimedelta().total_seconds()
            assert abs(retry.retry_delay.ToTimedelta().total_seconds() - after) < 0.001
            return after

        sending = [
            asyncio.ensure_future(send(person, channel_id))
            for person in people[:3]
            for channel_id in channel_ids
        ]
        ends = [asyncio.ensure_future(leave(stream)) for stream in streams]
        while sum(map(len, acknowledged.values())) < 60:
            await asyncio.wait([*sending, *ends], timeout=0.01)
        assert await leaving.stop() == 0
        after = await asyncio.gather(*ends)
        await asyncio.gather(*sending)
    assert 0 <= min(after)
    assert max(after) <= SPREAD_SECONDS
    assert len(set(after)) > 20
    assert max(after) - min(after) > SPREAD_SECONDS / 2
    await leaving.start()
    async with RawClient(leaving.address) as client:
        again: list[RawStream] = []
        for person, stream in zip(owners, streams, strict=True):
            # All were there when the groups were made: what a stream of before began with is seq 3 or later.
            known = [
                stream_pb2.KnownChannel(channel_id=channel_id, seq=max(stream.event_seqs(channel_id)))
                for channel_id in channel_ids
            ]
            resumed = await client.connect(person, cursor=stream.cursor, known_channels=known)
            assert resumed.welcome.reset.reason == stream_pb2.RESET_REASON_EPOCH_CHANGED
            heads = {head.channel_id: head for c in resumed.controls for head in c.digest.heads}
            assert set(heads) == set(channel_ids)
            for entry in known:
                live = stream.event_seqs(entry.channel_id)
                assert live == list(range(live[0], entry.seq + 1))
                fetched = await _all_events(client, person, entry.channel_id, entry.seq + 1)
                seqs = live + fetched
                assert seqs == list(range(live[0], heads[entry.channel_id].head_seq + 1))
                assert set(acknowledged[entry.channel_id]) <= set(seqs)
            again.append(resumed)
        sent = await client.send(people[0], channel_ids[0])
        for resumed in again:
            await resumed.until(lambda resumed=resumed: resumed.event_seqs(channel_ids[0]))  # type: ignore[misc]
            assert resumed.event_seqs(channel_ids[0]) == [sent.seq]
            resumed.cancel()


async def test_a_stream_that_comes_while_the_node_leaves_is_told_or_never_served(
    leaving: NodeProcess,
) -> None:
    """Streams are opened again and again around SIGTERM: each ends with GoAway and NODE_STOPPING, or
    was never taken; none ends in silence after its Welcome.

    Planted once: streams taken in while the node stops; they got a Welcome and then nothing.
    """
    async with RawClient(leaving.address) as client:
        person = await client.sign_up()
        streams: list[RawStream] = []

        async def open_and_read() -> None:
            while True:
                stream = client.open(person.metadata)
                streams.append(stream)
                await stream.send(hello=stream_pb2.Hello(foreground=True))
                try:
                    await stream.caught_up()
                except StreamEnded:
                    return

        opening = [asyncio.ensure_future(open_and_read()) for _ in range(4)]
        while len(streams) < 40:
            await asyncio.wait(opening, timeout=0.01)
        assert await leaving.stop() == 0
        await asyncio.gather(*opening)
        for stream in streams:
            outcome = await stream.end()
            # The transport may drop what it did not hand to anybody yet.
            assert outcome.code.name in ("UNAVAILABLE", "CANCELLED"), outcome
            if stream.frames:
                assert outcome.brief == ("UNAVAILABLE", "NODE_STOPPING")
                assert stream.frames[-1].controls[-1].HasField("go_away")
