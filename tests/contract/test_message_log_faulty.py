"""The fault wrapper: without faults a MessageLog like any other, with them each fault is what it says."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.ports.message_log import Committed, Conflict, StoreUnavailable, Unknown
from parley_server.testing.faulty_message_log import (
    AppendFault,
    FaultyMessageLog,
    RandomFaults,
    ReadFault,
    ScriptedFaults,
)
from parley_server.testing.message_log_contract import MessageLogContract
from parley_server.testing.message_log_suite import batch_id, rows

if TYPE_CHECKING:
    from parley_server.ports.message_log import AppendResult, MessageLog


class TestFaultyMessageLogWithoutFaults(MessageLogContract):
    async def make(self) -> MessageLog:
        return FaultyMessageLog(MemoryMessageLog(), ScriptedFaults())


async def test_an_unknown_append_was_written_or_lost_or_lands_later() -> None:
    inner = MemoryMessageLog()
    log = FaultyMessageLog(
        inner,
        ScriptedFaults(
            appends=[AppendFault.UNKNOWN_WRITTEN, AppendFault.UNKNOWN_LOST, AppendFault.UNKNOWN_LATE]
        ),
    )
    assert isinstance(await log.append("a", 0, rows(1, 2), batch_id(1)), Unknown)
    assert await inner.head("a") == 2
    assert isinstance(await log.append("a", 2, rows(3, 3), batch_id(2)), Unknown)
    assert await inner.head("a") == 2
    assert isinstance(await log.append("a", 2, rows(3, 3), batch_id(3)), Unknown)
    assert (await inner.head("a"), log.late_appends) == (2, 1)
    assert await log.land() == Committed()
    assert await inner.batch_at("a", 3) == batch_id(3)
    assert await log.append("a", 3, rows(4, 4), batch_id(4)) == Committed()
    assert await log.land() is None


async def test_a_late_append_conflicts_once_its_head_is_gone() -> None:
    log = FaultyMessageLog(MemoryMessageLog(), ScriptedFaults(appends=[AppendFault.UNKNOWN_LATE]))
    await log.append("a", 0, rows(1, 1), batch_id(1))
    assert await log.append("a", 0, rows(1, 1), batch_id(2)) == Committed()
    assert await log.land() == Conflict(1)
    assert await log.batch_at("a", 1) == batch_id(2)


async def test_reads_fail_and_delays_pass_as_scripted() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    log = FaultyMessageLog(
        MemoryMessageLog(),
        ScriptedFaults(reads=[ReadFault.UNAVAILABLE, ReadFault.NONE], delays_seconds=[0.5, 0.0, 2.0]),
        sleep=sleep,
    )
    with pytest.raises(StoreUnavailable):
        await log.head("a")
    assert await log.head("a") == 0
    assert await log.append("a", 0, rows(1, 1), batch_id(1)) == Committed()
    assert slept == [0.5, 2.0]
    assert log.unavailable_reads == 1


async def test_chance_plants_every_fault_and_the_same_seed_the_same_ones() -> None:
    async def run(seed: int) -> list[AppendResult]:
        inner = MemoryMessageLog()
        log = FaultyMessageLog(
            inner,
            RandomFaults(random.Random(seed), unknown_written=0.2, unknown_lost=0.2, unknown_late=0.2),
        )
        results = []
        for number in range(200):
            head = await inner.head("a")
            results.append(await log.append("a", head, rows(head + 1, head + 1), batch_id(number)))
        assert all(log.answers.values())
        return results

    first = await run(7)
    assert first == await run(7)
    assert first != await run(8)
