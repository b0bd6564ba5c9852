"""A device that was away for long, or has very many channels, ends with what one that never left has."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

import pytest

from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.folder import DataFolder
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.testing.raw_client import Person, RawClient, RawStream, message
from parley_server.testing.raw_device import RawDevice
from parley_server.testing.written_channels import write_groups

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence

    from tests.scenario.conftest import StartNode

    from parley_server.testing.node_process import NodeProcess

Answer = TypeVar("Answer")

IN_FLIGHT = 200
FRAME_BYTES = 64 * 1024


@pytest.fixture(autouse=True)
async def not_in_debug_mode() -> None:
    """The loop's debugging costs these clients several times what the node spends on what they ask."""
    asyncio.get_running_loop().set_debug(False)


async def _send(client: RawClient, sender: Person, channel_id: str, count: int) -> int:
    """Send so many messages, pipelined on one stream. Returns the last seq."""
    stream = await client.connect(sender)
    sent = answered = last = 0
    while answered < count:
        while sent < count and sent - answered < IN_FLIGHT:
            sent += 1
            await stream.send(request_id=sent, send_message=message(channel_id, "x"))
        await stream.read()
        for reply in stream.replies.values():
            assert reply.send_message.seq, reply
            last = max(last, reply.send_message.seq)
        answered += len(stream.replies)
        stream.replies.clear()
        # The sender's own events are of no interest here, and many.
        stream.events.clear()
        stream.frames.clear()
    stream.cancel()
    return last


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_hundred_thousand_missed_events(start_node: StartNode) -> None:
    """Told by one head, fetched in pages of 200: as on the device that stayed and got each one live."""
    # The device that stays only reads.
    node = await start_node(**{"sessions.lease_seconds": 600, "limits.requests_in_flight": IN_FLIGHT})
    async with RawClient(node.address) as client:
        ann, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.direct(ann, bob)
        stayed = RawDevice(client, bob)
        device = RawDevice(client, await client.log_in(bob.username))
        await stayed.come()
        await device.come()
        await device.go()
        following = asyncio.create_task(stayed.follow(channel_id, 100_003, seconds=300))
        assert await _send(client, ann, channel_id, 100_000) == 100_003
        await following
        assert await device.come() == "digested"
        assert device.stream is not None
        assert sum(frame.ByteSize() for frame in device.stream.frames) < FRAME_BYTES
        assert device.events == stayed.events
        assert len(device.events[channel_id]) == 100_001
        await device.go()
        assert await device.come() == "continued"


async def _ask_all(calls: Iterable[Awaitable[Answer]], at_once: int) -> list[Answer]:
    """The answers of all these calls, asked in their order."""
    places = asyncio.Semaphore(at_once)

    async def ask(call: Awaitable[Answer]) -> Answer:
        async with places:
            return await call

    return await asyncio.gather(*map(ask, calls))


async def _with_groups(node: NodeProcess, count: int) -> tuple[Person, Person, list[str]]:
    """Two people and the groups that they share, oldest first. Asking for every one would take a minute."""
    async with RawClient(node.address) as client:
        ann, bob = await client.sign_up(), await client.sign_up()
    assert await node.stop() == 0
    now_ms = time.time_ns() // 1_000_000
    with DataFolder(node.data) as folder:
        database = await ChatDatabase.open(folder.chat_database)
        channels = await write_groups(
            SqliteMessageLog(database),
            SqliteProjections(database),
            [ann.user_id, bob.user_id],
            count,
            now_ms - count,
        )
        await database.close()
    await node.start()
    return ann, bob, channels


async def _check_digests(node: NodeProcess, count: int, at_once: int) -> None:
    """RESET and DIGEST name what they must, newest activity first, in frames of at most 64 KiB."""
    ann, bob, channels = await _with_groups(node, count)
    async with RawClient(node.address) as client:
        await _come_and_go(client, ann, bob, channels, at_once)


async def _come_and_go(
    client: RawClient, ann: Person, bob: Person, channels: Sequence[str], at_once: int
) -> None:
    device = RawDevice(client, bob)
    assert await device.come() == "reset"
    assert device.stream is not None
    _check_frames(device.stream)
    assert _told(device.stream) == channels[::-1]
    # The newest are known from before; half of the channels go on while the device is away.
    await device.go()
    active = channels[::2]
    answers = await _ask_all((client.send(ann, channel_id) for channel_id in active), at_once)
    sent_ms = {name: answer.create_time_ms for name, answer in zip(active, answers, strict=True)}
    assert await device.come(say_known=False) == "digested"
    assert device.stream is not None
    _check_frames(device.stream)
    told = _told(device.stream)
    assert sorted(told) == sorted(active)
    assert _is_newest_first(told, sent_ms)
    stayed = RawDevice(client, await client.log_in(bob.username))
    assert await stayed.come() == "reset"
    assert stayed.stream is not None
    _check_frames(stayed.stream)
    told = _told(stayed.stream)
    assert sorted(told) == sorted(channels)
    assert set(told[: len(active)]) == set(active)
    assert _is_newest_first(told[: len(active)], sent_ms)
    assert told[len(active) :] == channels[1::2][::-1]
    assert {name: seqs[-1] for name, seqs in device.events.items()} == {
        name: seqs[-1] for name, seqs in stayed.events.items()
    }


def _told(stream: RawStream) -> list[str]:
    controls = [control for frame in stream.frames for control in frame.controls]
    return [head.channel_id for control in controls for head in control.digest.heads]


def _is_newest_first(told: Sequence[str], sent_ms: Mapping[str, int]) -> bool:
    times = [sent_ms[name] for name in told]
    # Several may be of the same millisecond.
    assert len(set(times)) > 3
    return times == sorted(times, reverse=True)


def _check_frames(stream: RawStream) -> None:
    for frame in stream.frames:
        assert frame.ByteSize() <= FRAME_BYTES or len(frame.events) == 1


async def test_digests_come_newest_first(node: NodeProcess) -> None:
    """Caught when a reset's pages came in the order of the channel ids."""
    await _check_digests(node, 12, at_once=1)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_user_with_five_thousand_channels(node: NodeProcess) -> None:
    """Thirteen pages, none larger than a frame; half of it again after the device was away."""
    await _check_digests(node, 5000, at_once=50)
