"""The laws of Commits as tests. A backend keeps them or it is not one.

class TestMyCommits(CommitsContract):
    async def make(self) -> Stores: ...
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_server.chat.codec import row_of
from parley_server.ports.message_log import LARGEST_SEQ, Committed, Conflict, LogPage
from parley_server.testing.message_log_suite import batch_id
from parley_server.testing.projected_log import LogWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from parley_server.chat.event import Event
    from parley_server.ports.commits import Commits
    from parley_server.ports.message_log import AppendResult, MessageLog
    from parley_server.ports.projections import Projections


@dataclass(frozen=True, slots=True, eq=False)
class Stores:
    """Commits, and what they write to."""

    commits: Commits
    log: MessageLog
    projections: Projections

    async def commit(self, events: Sequence[Event], attempt: int = 1) -> AppendResult:
        """Commit events of one channel at the head before the first of them."""
        first = events[0]
        rows = [row_of(event) for event in events]
        return await self.commits.commit(first.channel_id, first.seq - 1, rows, events, batch_id(attempt))

    async def assert_holds(self, events: Sequence[Event]) -> None:
        """The log holds exactly these events of a channel, and all of them are projected."""
        channel_id = events[0].channel_id
        page = await self.log.read(channel_id, 1, LARGEST_SEQ, limit=1000, limit_bytes=LARGEST_SEQ)
        assert page == LogPage(tuple(map(row_of, events)), events[-1].seq, False)
        assert await self.projections.watermark(channel_id) == events[-1].seq
        for event in events:
            if event.client_message_id:
                where = await self.projections.seqs_of(channel_id, event.actor_id, event.client_message_id)
                assert where == (event.seq,)


def client_id(number: int) -> str:
    """A client's id that differs from those of other numbers."""
    return f"0199c82c-c000-7000-8000-{number:012x}"


class CommitsContract(ABC):
    """Every test of every Commits. `make` opens empty stores, `discard` closes them."""

    @abstractmethod
    async def make(self) -> Stores: ...

    async def discard(self, stores: Stores) -> None:
        return

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Stores]:
        stores = await self.make()
        try:
            yield stores
        finally:
            await self.discard(stores)

    async def test_what_was_committed_is_in_the_log_and_projected(self) -> None:
        """Planted: without the projecting step the watermark stayed at 0."""
        async with self.opened() as stores:
            log = LogWriter("a")
            log.join("bob")
            assert await stores.commit(log.events) == Committed()
            for number in range(3):
                log.say(client_message_id=client_id(number))
            assert await stores.commit(log.events[2:], attempt=2) == Committed()
            await stores.assert_holds(log.events)

    async def test_what_conflicts_is_not_projected_either(self) -> None:
        """Of many that race at one head one wins, and only its events count. So with an owner that is ahead
        of the log. Planted: projecting whatever the log answered raised an error for that one.
        """
        async with self.opened() as stores:
            log = LogWriter("a")
            assert await stores.commit(log.events) == Committed()
            racers = [LogWriter("a").say(client_message_id=client_id(number)) for number in range(16)]
            results = await asyncio.gather(
                *(stores.commit([racer], number) for number, racer in enumerate(racers))
            )
            (winner,) = [number for number, result in enumerate(results) if result == Committed()]
            assert results.count(Conflict(2)) == len(racers) - 1
            await stores.assert_holds([*log.events, racers[winner]])
            for number, racer in enumerate(racers):
                where = await stores.projections.seqs_of("a", racer.actor_id, racer.client_message_id)
                assert where == ((2,) if number == winner else ())
            ahead = LogWriter("a")
            for _ in range(5):
                ahead.say()
            assert await stores.commit(ahead.events[4:], 99) == Conflict(2)
            await stores.assert_holds([*log.events, racers[winner]])

    async def test_channels_and_other_writes_share_no_fate(self) -> None:
        """Commits of many channels, appends and projecting by hand go on side by side."""
        async with self.opened() as stores:
            logs = [LogWriter(f"c{number}") for number in range(20)]

            async def write(log: LogWriter, number: int) -> None:
                if number % 3 == 2:
                    rows = [row_of(event) for event in log.events]
                    await stores.log.append(log.channel_id, 0, rows, batch_id(number))
                    await stores.projections.apply(log.channel_id, log.events)
                else:
                    assert await stores.commit(log.events, number) == Committed()
                for _ in range(3):
                    head = len(log.events)
                    log.say(client_message_id=client_id(head))
                    log.say()
                    assert await stores.commit(log.events[head:], number) == Committed()

            await asyncio.gather(*(write(log, number) for number, log in enumerate(logs)))
            for log in logs:
                await stores.assert_holds(log.events)
