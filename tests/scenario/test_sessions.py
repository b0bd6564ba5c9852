"""Leases: who is heard stays, who is silent goes, and a session belongs to its device."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from parley.chat.v1 import stream_pb2
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient, RawStream, eventually, outcome_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_server.testing.raw_client import Person

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEASE_SECONDS = 2.0
LONG_SECONDS = 3 * LEASE_SECONDS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RawClient]:
    """A connection to a node with short leases."""
    node = NodeProcess(
        tmp_path_factory.mktemp("sessions") / "node",
        {
            "sessions.lease_seconds": LEASE_SECONDS,
            "sessions.background_lease_seconds": 60,
            "sessions.heartbeat_seconds": 1,
        },
        (CHEAP_PASSWORDS,),
    )
    await node.start()
    async with RawClient(node.address) as client:
        yield client
    await node.close()
    assert "Traceback" not in node.stderr


async def _heartbeat(client: RawClient, person: Person, session_id: str, *, foreground: bool) -> None:
    request = stream_pb2.HeartbeatRequest(session_id=session_id, foreground=foreground)
    answer = await client.chat.Heartbeat(request, metadata=person.metadata)
    assert abs(answer.server_time.seconds - time.time()) < 10


async def test_who_is_silent_goes_and_who_is_heard_stays(client: RawClient) -> None:
    """For three leases: a silent Connect and a silent Subscribe end with LEASE_EXPIRED; those renewed by
    frames, by pongs or by unary Heartbeat go on, and so does one that said it is in the background.

    Planted once: without `touch` in Heartbeat the renewed Subscribe ended like the silent one. Planted once:
    the end as SESSION_NOT_FOUND, by which a client had to take it for its own mistake.
    """
    alice = await client.sign_up()
    silent = [await client.connect(alice), await client.subscribe(alice)]
    chatty, ponging = await client.connect(alice), await client.connect(alice)
    renewed, background = await client.subscribe(alice), await client.subscribe(alice)
    await _heartbeat(client, alice, background.welcome.session_id, foreground=False)

    async def keep() -> None:
        started = time.monotonic()
        while time.monotonic() - started < LONG_SECONDS:
            await chatty.barrier()
            await ponging.send(pong=stream_pb2.Pong())
            await _heartbeat(client, alice, renewed.welcome.session_id, foreground=True)
            await asyncio.sleep(LEASE_SECONDS / 10)

    async def gone(stream: RawStream) -> None:
        started = time.monotonic()
        outcome = await stream.end()
        assert outcome.brief == ("UNAVAILABLE", "LEASE_EXPIRED")
        assert stream.control("go_away").reason == stream_pb2.GO_AWAY_REASON_LEASE_EXPIRED
        assert stream.control("go_away").resumable
        assert any(control.HasField("ping") for control in stream.controls)
        assert time.monotonic() - started < LONG_SECONDS

    await asyncio.gather(keep(), *map(gone, silent))
    await ponging.barrier()
    channel_id = await client.group(alice)
    for stream in (chatty, ponging, renewed, background):
        await stream.until(lambda stream=stream: stream.event_seqs(channel_id))  # type: ignore[misc]
        stream.cancel()
    for stream in silent:
        request = stream_pb2.HeartbeatRequest(session_id=stream.welcome.session_id)
        outcome = await outcome_of(client.chat.Heartbeat(request, metadata=alice.metadata))
        assert outcome.brief == ("NOT_FOUND", "SESSION_NOT_FOUND")


async def test_a_session_belongs_to_its_device(client: RawClient) -> None:
    """Heartbeat for another device's session, of the same user or not, for none, or for a closed one: the one
    SESSION_NOT_FOUND, byte for byte.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    tablet = await client.log_in(alice.username)
    stream, closed = await client.subscribe(alice), await client.subscribe(alice)
    closed.cancel()
    session_id = stream.welcome.session_id

    async def ask(person: Person, session_id: str) -> object:
        request = stream_pb2.HeartbeatRequest(session_id=session_id, foreground=True)
        return await outcome_of(client.chat.Heartbeat(request, metadata=person.metadata))

    unknown = await ask(bob, "nobody's")
    assert [await ask(person, session_id) for person in (bob, tablet)] == [unknown] * 2
    assert await ask(alice, "") == unknown

    async def closed_is_unknown() -> bool:
        return await ask(alice, closed.welcome.session_id) == unknown

    await eventually(closed_is_unknown)
    await _heartbeat(client, alice, session_id, foreground=True)
    stream.cancel()
