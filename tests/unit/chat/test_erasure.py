"""What was taken back leaves the log, whatever fails in between, and nothing else changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat import codec
from parley_server.chat.erasure import PICKED_ROWS, Eraser
from parley_server.chat.event import (
    AuthorErased,
    ChannelChanged,
    ChannelDeleted,
    ChannelKind,
    Event,
    EventBody,
    HistoryVisibility,
    MemberChange,
    MemberChanged,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    Role,
)
from parley_server.ports.message_log import LARGEST_SEQ, Committed, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.ports.message_log import Row

MADE = ChannelChanged(True, ChannelKind.GROUP, "Us", HistoryVisibility.FROM_JOINING, 10)


class FailingLog(MemoryMessageLog):
    """A log whose next erasures fail, and which notes how many rows were picked at once."""

    failures = 0
    most_picked = 0

    async def pick(self, channel_id: str, seqs: Sequence[int]) -> tuple[Row, ...]:
        picked = await super().pick(channel_id, seqs)
        self.most_picked = max(self.most_picked, len(picked))
        return picked

    async def erase(self, channel_id: str, rows: Sequence[Row]) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("planted")
        await super().erase(channel_id, rows)


class World:
    def __init__(self) -> None:
        self.log, self.projections = FailingLog(), MemoryProjections()
        self.eraser = Eraser(self.log, self.projections)
        self.head = self.messages = 0

    async def write(self, *bodies: tuple[str, EventBody]) -> list[Event]:
        events = []
        for actor_id, body in bodies:
            self.head += 1
            self.messages += isinstance(body, MessagePosted)
            events.append(Event("c", self.head, self.messages, 1000 + self.head, actor_id, "", b"", body))
        rows = [codec.row_of(event) for event in events]
        assert isinstance(await self.log.append("c", events[0].seq - 1, rows, bytes(16)), Committed)
        await self.projections.apply("c", events)
        return events

    async def texts(self) -> dict[int, str]:
        page = await self.log.read("c", 1, LARGEST_SEQ, limit=1000, limit_bytes=1 << 30)
        bodies: dict[int, Any] = {row.seq: codec.event_of(row).body for row in page.rows}
        assert sorted(bodies) == list(range(1, self.head + 1))
        return {seq: body.text for seq, body in bodies.items() if hasattr(body, "text")}

    async def due(self) -> list[int]:
        return [seq for _, seq in await self.projections.erasures_due(after=("", 0), limit=100)]


@pytest.fixture
async def world() -> World:
    """Ann says two things and edits the second twice, Ben says one."""
    world = World()
    await world.write(
        ("ann", MADE),
        ("ann", MemberChanged("ann", MemberChange.ADDED, Role.OWNER)),
        ("ann", MemberChanged("ben", MemberChange.ADDED, Role.MEMBER)),
        ("ann", MessagePosted("one", (("k", "v"),))),
        ("ann", MessagePosted("two")),
        ("ben", MessagePosted("of ben")),
        ("ann", MessageEdited(5, "two, better")),
        ("ann", MessageEdited(5, "two, best")),
    )
    return world


async def test_a_deleted_message_goes_with_all_its_edits(world: World) -> None:
    """Only its rows are emptied, and it is due no more. Caught without the edits."""
    events = await world.write(("ann", MessageDeleted(5)))
    await world.eraser.erase_now("c", events)
    assert await world.texts() == {4: "one", 5: "", 6: "of ben", 7: "", 8: ""}
    assert await world.due() == []


async def test_a_message_of_any_number_of_edits_is_erased_a_few_rows_at_a_time(world: World) -> None:
    """Each may be of the largest size. Planted once: picked all at once, ten thousand edits took three
    gigabytes of memory, and again at each start.
    """
    edits: list[tuple[str, EventBody]] = [("ann", MessageEdited(5, f"two, {n}")) for n in range(600)]
    await world.write(*edits)
    events = await world.write(("ann", MessageDeleted(5)))
    await world.eraser.erase_now("c", events)
    assert {seq for seq, text in (await world.texts()).items() if text} == {4, 6}
    assert world.log.most_picked <= PICKED_ROWS
    assert await world.due() == []


async def test_what_could_not_be_erased_stays_due(world: World) -> None:
    """The caller is not held up; a sweep does it later. Caught when a failure was taken for done."""
    world.log.failures = 1
    events = await world.write(("ann", MessageDeleted(4)), ("ben", MessageDeleted(6)))
    await world.eraser.erase_now("c", events)
    assert (await world.texts())[4] == "one"
    assert await world.due() == [9, 10]
    await Eraser(world.log, world.projections).sweep()
    assert await world.texts() == {4: "", 5: "two", 6: "", 7: "two, better", 8: "two, best"}
    assert await world.due() == []


async def test_an_erased_author_loses_everything_up_to_there(world: World) -> None:
    """Messages, their edits and attributes; nobody else's. The channel's title stays, whoever gave it:
    rebuilt projections lost it once.
    """
    events = await world.write(
        ("ann", MemberChanged("ann", MemberChange.LEFT, None)),
        ("ann", AuthorErased("ann")),
        ("ben", MessagePosted("alone")),
    )
    await world.eraser.erase_now("c", events)
    assert (await world.texts())[4] == "one"
    await world.eraser.sweep()
    assert await world.texts() == {4: "", 5: "", 6: "of ben", 7: "", 8: "", 11: "alone"}
    assert [codec.event_of(row).body for row in await world.log.pick("c", (1,))] == [MADE]


async def test_a_deleted_channel_loses_texts_and_title(world: World) -> None:
    """Nothing that anybody wrote is left, the title neither."""
    await world.write(("ann", ChannelDeleted()))
    await world.eraser.sweep()
    assert set((await world.texts()).values()) == {""}
    (first,) = await world.log.pick("c", (1,))
    assert b"Us" not in first.event
    assert await world.due() == []


async def test_the_sweeper_works_when_told_and_again_after_a_failure(world: World) -> None:
    """It begins with what is due, survives a store that does not answer, and ends when told."""
    await world.write(("ann", ChannelDeleted()))
    world.log.failures = 1
    sweeping = asyncio.create_task(world.eraser.keep_sweeping(every_seconds=0.01))
    async with asyncio.timeout(10):
        while await world.due():  # noqa: ASYNC110 - the sweeper tells nobody when it is done
            await asyncio.sleep(0)
    sweeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweeping
    assert set((await world.texts()).values()) == {""}
