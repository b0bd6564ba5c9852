"""Each device has a cursor of its own, and what it acknowledged is where it goes on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import Person, RawClient, RawStream, eventually, outcome_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_CURSOR = ("reset", stream_pb2.RESET_REASON_NO_CURSOR)
CONTINUED = ("continued",)


async def _running(path: Path, **settings: object) -> AsyncIterator[NodeProcess]:
    node = NodeProcess(path, settings, (CHEAP_PASSWORDS,))
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr
    assert "was not stored" not in node.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """A node that stores acknowledged cursors each second."""
    settings = {"sessions.acknowledge_seconds": 1}
    async for node in _running(tmp_path_factory.mktemp("cursors") / "node", **settings):
        yield node


@pytest_asyncio.fixture(loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it, a new one for each test: one restarts the node."""
    async with RawClient(node.address) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def patient(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RawClient]:
    """A connection to a node that stores what a stream acknowledged only when the stream ends."""
    settings = {"sessions.acknowledge_seconds": 600}
    async for node in _running(tmp_path_factory.mktemp("patient") / "node", **settings):
        async with RawClient(node.address) as client:
            yield client


def _ack(cursor: str) -> message_requests_pb2.AckEventsRequest:
    return message_requests_pb2.AckEventsRequest(cursor=cursor)


async def _ack_on(stream: RawStream, cursor: str) -> None:
    assert (await stream.ask(ack_events=_ack(cursor))).HasField("ack_events")


async def _kept(client: RawClient, person: Person) -> tuple[object, ...]:
    """Where the server takes the device up that lost its state: ("reset", reason), ("continued",) or
    ("digested", the channels with news).
    """
    stream = await client.connect(person)
    stream.cancel()
    resume = stream.welcome.WhichOneof("resume") or ""
    heads = [head.channel_id for control in stream.controls for head in control.digest.heads]
    if resume == "reset":
        return resume, stream.welcome.reset.reason
    return (resume, *sorted(heads))


async def _kept_becomes(client: RawClient, person: Person, *expected: object) -> None:
    async def holds() -> bool:
        return await _kept(client, person) == expected

    await eventually(holds)


async def _cursors(client: RawClient, person: Person, count: int) -> tuple[list[str], list[str]]:
    """Groups with a message each, and the device's cursor after each: what changed after cursors[i] are the
    groups from i + 1 on.
    """
    other = await client.sign_up()
    channel_ids = [await client.group(other, [person]) for _ in range(count)]
    stream = await client.connect(person)
    cursors: list[str] = []
    for channel_id in channel_ids:
        before = stream.cursor
        await client.send(other, channel_id)
        await stream.until(lambda: stream.cursor != before and stream.event_seqs(channel_id))  # noqa: B023 - read at once
        cursors.append(stream.cursor)
    stream.cancel()
    assert len(set(cursors)) == count
    return channel_ids, cursors


async def test_each_device_has_its_own_cursor(patient: RawClient) -> None:
    """The phone is away since the first event, the tablet follows live, the laptop never acknowledged: each
    is taken up where it was, and the tablet's acknowledging moves nobody else.

    Planted once: acknowledged cursors kept by user; the phone was told that it had missed nothing.
    """
    phone = await patient.sign_up()
    tablet, laptop = await patient.log_in(phone.username), await patient.log_in(phone.username)
    channel_ids, cursors = await _cursors(patient, phone, 3)
    away, live = await patient.connect(phone), await patient.connect(tablet)
    await _ack_on(away, cursors[0])
    away.cancel()
    await _kept_becomes(patient, phone, "digested", *sorted(channel_ids[1:]))
    await _ack_on(live, cursors[2])
    live.cancel()
    await _kept_becomes(patient, tablet, *CONTINUED)
    assert await _kept(patient, phone) == ("digested", *sorted(channel_ids[1:]))
    assert await _kept(patient, laptop) == NO_CURSOR


async def test_acks_on_a_stream_are_stored_while_it_is_open(client: RawClient) -> None:
    """Within acknowledge_seconds, more than once on one stream; and what was stored is durable.

    Planted once: no storing in `Upkeep.tick`; the device was reset until its stream ended.
    """
    phone = await client.sign_up()
    channel_ids, cursors = await _cursors(client, phone, 3)
    stream = await client.connect(phone)
    for place, cursor in enumerate(cursors):
        await _ack_on(stream, cursor)
        rest = sorted(channel_ids[place + 1 :])
        await _kept_becomes(client, phone, *(("digested", *rest) if rest else CONTINUED))
    await stream.barrier()
    stream.cancel()


@pytest.mark.parametrize("way", ["goodbye", "vanishing"])
async def test_acks_on_a_stream_are_coalesced_and_stored_at_its_end(patient: RawClient, way: str) -> None:
    """A hundred acks in any order, some without a wish for a reply: nothing is stored while the stream is
    open, and the newest of them when it ends, however it ends.

    Found by this: the last ack was stored and not the newest, so a late older one undid what the device had
    acknowledged. Planted once: each ack stored at once.
    """
    phone = await patient.sign_up()
    _, cursors = await _cursors(patient, phone, 4)
    stream = await patient.connect(phone)
    acks = cursors * 25
    random.Random(3).shuffle(acks)
    for cursor in [*acks, cursors[3], cursors[0]]:
        await stream.send(ack_events=_ack(cursor))
    await _ack_on(stream, cursors[1])
    for _ in range(10):
        assert await _kept(patient, phone) == NO_CURSOR
    if way == "goodbye":
        await stream.send(goodbye=stream_pb2.Goodbye())
        assert (await stream.end()).brief == ("OK", "")
    else:
        stream.cancel()

    async def stored() -> bool:
        return await _kept(patient, phone) != NO_CURSOR

    await eventually(stored)
    assert await _kept(patient, phone) == CONTINUED


async def test_an_older_ack_changes_nothing(client: RawClient) -> None:
    """After the newest was stored, older ones by unary call and on a stream that stores and ends.

    Planted once: the store without its comparison; the device was told a channel again.
    """
    phone = await client.sign_up()
    _, cursors = await _cursors(client, phone, 3)
    for cursor in (cursors[2], cursors[0]):
        await client.chat.AckEvents(_ack(cursor), metadata=phone.metadata)
        assert await _kept(client, phone) == CONTINUED
    stream = await client.connect(phone)
    await _ack_on(stream, cursors[1])
    await stream.send(goodbye=stream_pb2.Goodbye())
    assert (await stream.end()).brief == ("OK", "")
    for _ in range(10):
        assert await _kept(client, phone) == CONTINUED


async def test_another_users_cursor_is_refused_as_an_ack(client: RawClient) -> None:
    """On the stream and by unary call alike, and it is not stored; the stream goes on.

    Planted once: cursors without their user's mark; taken.
    """
    phone, stranger = await client.sign_up(), await client.sign_up()
    _, cursors = await _cursors(client, phone, 1)
    stream = await client.connect(stranger)
    reply = await stream.ask(ack_events=_ack(cursors[0]))
    unary = await outcome_of(client.chat.AckEvents(_ack(cursors[0]), metadata=stranger.metadata))
    assert unary.brief == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert unary.violated_fields == ["cursor"]
    assert unary.status == reply.error
    await stream.send(goodbye=stream_pb2.Goodbye())
    assert (await stream.end()).brief == ("OK", "")
    assert await _kept(client, stranger) == NO_CURSOR


async def test_an_ack_of_a_lost_epoch_is_taken_and_has_no_effect(
    node: NodeProcess, client: RawClient
) -> None:
    """A device that acknowledges from before a restart, after its newest ack or before it, on the stream and
    by unary call: the newest of this epoch holds.

    Planted once: `acknowledge` without its look at the epoch; the device was reset. Found by this: on a
    stream the older epoch's cursor took the place of the one that was to be stored.
    """
    phone = await client.sign_up()
    _, lost = await _cursors(client, phone, 1)
    await client.chat.AckEvents(_ack(lost[0]), metadata=phone.metadata)
    assert await _kept(client, phone) == CONTINUED
    await node.kill()
    await node.start()
    async with RawClient(node.address) as again:
        assert await _kept(again, phone) == ("reset", stream_pb2.RESET_REASON_EPOCH_CHANGED)
        _, cursors = await _cursors(again, phone, 2)
        stream = await again.connect(phone)
        for cursor in (lost[0], cursors[1], lost[0], cursors[0], lost[0]):
            await _ack_on(stream, cursor)
        stream.cancel()
        await _kept_becomes(again, phone, *CONTINUED)
        await again.chat.AckEvents(_ack(lost[0]), metadata=phone.metadata)
        assert await _kept(again, phone) == CONTINUED
