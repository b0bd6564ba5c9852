"""The channels of a node: each has its owner while it is busy, and none for longer than that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from parley_runtime.refusal import Reason, Refusal
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat.owner import OwnerLimits
from parley_server.chat.owners import Owners
from parley_server.testing.lone_owner import CREATE, owner_ports, post

if TYPE_CHECKING:
    from parley_server.chat.command import Command, Done


@pytest.fixture
def log() -> MemoryMessageLog:
    return MemoryMessageLog()


def _owners(log: MemoryMessageLog, **asked: Any) -> Owners:
    return Owners(owner_ports(log, MemoryProjections()), OwnerLimits(), **asked)


async def _let_quiet_ones_go(owners: Owners, left: int) -> None:
    """All channels are quiet: wait until only so many are kept."""
    owners._sweep()
    owners._sweep()
    async with asyncio.timeout(10):
        while len(owners) > left:  # noqa: ASYNC110 - owners tell nobody that a channel was let go
            await asyncio.sleep(0)


async def test_commands_of_a_channel_keep_their_order(log: MemoryMessageLog) -> None:
    """The order of the calls is the order of the log."""
    owners = _owners(log)
    commands: list[Command] = [CREATE, *[post("ann", number) for number in range(1, 50)]]
    answers = [owners.submit("c", command) for command in commands]
    seqs = [(await answer).seq for answer in answers]
    assert seqs == [4, *range(5, 54)]
    await owners.stop()


async def test_ids_that_name_nothing_take_no_place(log: MemoryMessageLog) -> None:
    """Anybody can invent channel ids."""
    owners = _owners(log)
    for number in range(20):
        with pytest.raises(Refusal):
            await owners.submit(f"no {number}", post("ann", 1))
    await owners.stop()
    assert len(owners) == 0


async def test_idle_channels_are_bounded(log: MemoryMessageLog) -> None:
    """The longest unused goes first, and comes back when it is asked for. Planted: the newest went first;
    nobody went.
    """
    owners = _owners(log, channels_limit=3, quiet_seconds=3600)
    for number in range(8):
        await owners.submit(f"c{number}", CREATE)
    await _let_quiet_ones_go(owners, 3)
    assert list(owners._owners) == ["c5", "c6", "c7"]
    await owners.submit("c5", post("ann", 1))
    assert (await owners.submit("c0", post("ann", 1))).seq == 5
    await _let_quiet_ones_go(owners, 3)
    assert list(owners._owners) == ["c7", "c5", "c0"]
    await owners.stop()


async def test_stopping_finishes_what_was_taken(log: MemoryMessageLog) -> None:
    """And takes nothing more."""
    owners = _owners(log)
    answers = [owners.submit("c", CREATE), owners.submit("c", post("ann", 1))]
    await owners.stop()
    assert [answer.result().seq for answer in answers] == [4, 5]
    with pytest.raises(Refusal) as refused:
        owners.submit("c", post("ann", 2))
    assert refused.value.reason is Reason.NODE_STOPPING


async def test_a_channel_is_served_until_it_is_quiet(log: MemoryMessageLog) -> None:
    """The mark follows then, not with each command; a busy channel may be over the bound, a quiet one
    not. Planted: without the sweep the channels stayed for ever; letting them go at the first sweep, with
    commands since, marked after each.
    """
    owners = _owners(log, channels_limit=0, quiet_seconds=3600)
    await owners.submit("c", CREATE)
    for number in range(1, 4):
        owners._sweep()
        await owners.submit("c", post("ann", number))
    assert await log.fanned("c") == 0
    assert len(owners) == 1
    await _let_quiet_ones_go(owners, 0)
    assert await log.fanned("c") == 7
    assert (await owners.submit("c", post("ann", 4))).seq == 8
    await owners.stop()


async def test_stopping_marks_what_was_announced(log: MemoryMessageLog) -> None:
    """Also while the channels are still waited with. Planted: without rousing them stopping never
    ended.
    """
    owners = _owners(log, quiet_seconds=3600)
    for number in range(3):
        await owners.submit(f"c{number}", CREATE)
    async with asyncio.timeout(10):
        await owners.stop()
    assert [await log.fanned(f"c{number}") for number in range(3)] == [4, 4, 4]


async def test_commands_that_come_while_the_mark_is_written_are_served(log: MemoryMessageLog) -> None:
    """The channel is about to be let go. Planted: returning without another look left the command
    without an answer until the next one.
    """
    owners = _owners(log, quiet_seconds=0.01)
    await owners.submit("c", CREATE)
    original = log.mark_fanned
    answers: list[asyncio.Future[Done]] = []

    async def mark_fanned(channel_id: str, seq: int) -> None:
        await original(channel_id, seq)
        if len(answers) < 5:
            answers.append(owners.submit("c", post("ann", len(answers) + 1)))
            await asyncio.sleep(0)

    log.mark_fanned = mark_fanned  # type: ignore[method-assign]
    async with asyncio.timeout(10):
        while len(answers) < 5:  # noqa: ASYNC110 - the timer of the owners decides when
            await asyncio.sleep(0.01)
        assert [(await answer).seq for answer in answers] == [5, 6, 7, 8, 9]
    await owners.stop()
