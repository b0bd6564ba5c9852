"""Both projections forget the oldest client ids, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_server.backends.memory.projections import MemoryProjections
from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.testing.projected_log import LogWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FIRST_MS = 1_700_000_000_000
Either = MemoryProjections | SqliteProjections


def made_at(time_ms: int, number: int = 0) -> str:
    digits = f"{time_ms:012x}"
    return f"{digits[:8]}-{digits[8:]}-7{number:03x}-8000-000000000000"


@pytest.fixture(params=["memory", "sqlite"])
async def projections(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Either]:
    if request.param == "memory":
        yield MemoryProjections()
        return
    database = await ChatDatabase.open(tmp_path / "chat.db")
    yield SqliteProjections(database)
    await database.close()


async def fill(projections: Either, ids: list[str]) -> None:
    """Each of the two channels has half of them, by two senders."""
    for channel_id, some in (("a", ids[::2]), ("b", ids[1::2])):
        log = LogWriter(channel_id)
        log.join("ann")
        log.join("bob")
        for number, each in enumerate(some):
            log.say(actor_id=("ann", "bob")[number % 2], client_message_id=each)
        await projections.apply(channel_id, log.events)


async def known(projections: Either, ids: list[str]) -> list[str]:
    return [
        each
        for each in ids
        if [
            await projections.seqs_of(channel_id, actor_id, each)
            for channel_id in ("a", "b")
            for actor_id in ("ann", "bob")
        ]
        != [(), (), (), ()]
    ]


async def test_the_oldest_go_first_whatever_their_channel_and_sender(projections: Either) -> None:
    """To the millisecond: that of the time itself stays. Planted: the time's own ids dropped as well; the
    newest first; only the first channel's.
    """
    ids = [made_at(FIRST_MS + 1000 * number) for number in range(20)]
    await fill(projections, ids)
    before_ms = FIRST_MS + 12_000
    assert await projections.forget_ids(before_ms=before_ms, limit=5) == 5
    assert await known(projections, ids) == ids[5:]
    assert await projections.forget_ids(before_ms=before_ms, limit=100) == 7
    assert await known(projections, ids) == ids[12:]
    assert await projections.forget_ids(before_ms=before_ms, limit=100) == 0
    assert await projections.forget_ids(before_ms=before_ms + 1, limit=100) == 1
    assert await projections.forget_ids(before_ms=-5, limit=100) == 0
    assert await known(projections, ids) == ids[13:]


async def test_ids_of_one_millisecond_are_told_apart(projections: Either) -> None:
    """Planted: all of a time dropped at once, beyond the limit."""
    ids = [made_at(FIRST_MS, number) for number in range(10)]
    await fill(projections, ids)
    assert await projections.forget_ids(before_ms=FIRST_MS, limit=100) == 0
    assert await projections.forget_ids(before_ms=FIRST_MS + 1, limit=4) == 4
    assert len(await known(projections, ids)) == 6


async def test_what_was_forgotten_may_come_again(projections: Either) -> None:
    """The rows of a rebuilt file, say. Planted: the channel's watermark dropped with its ids."""
    ids = [made_at(FIRST_MS + number) for number in range(4)]
    await fill(projections, ids)
    assert await projections.forget_ids(before_ms=FIRST_MS + 9, limit=9) == 4
    assert await projections.watermark("a") == 5
    log = LogWriter("c")
    log.join("ann")
    log.say(client_message_id=ids[0])
    await projections.apply("c", log.events)
    assert await projections.seqs_of("c", "ann", ids[0]) == (3,)
