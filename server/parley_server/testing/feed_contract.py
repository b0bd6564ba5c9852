"""The laws of Feed as tests. See message_log_contract for how a backend uses them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley_server.ports.feed import EpochChanged, Feed, FeedEntry, FeedPage
from parley_server.ports.positions import FeedCursor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class FeedContract(ABC):
    """Every test of every Feed. `make` opens an empty one with an epoch that no other has."""

    @abstractmethod
    async def make(self) -> Feed:
        """An empty feed, of an epoch of its own."""

    async def discard(self, feed: Feed) -> None:
        """Close what `make` opened."""
        return

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Feed]:
        """A feed for the length of a block."""
        feed = await self.make()
        try:
            yield feed
        finally:
            await self.discard(feed)

    async def test_a_new_user_starts_at_position_0(self) -> None:
        async with self.opened() as feed:
            cursor = await feed.cursor("ann")
            assert cursor.position == 0
            assert cursor.epoch
            assert await feed.changed_since("ann", cursor, limit=9) == FeedPage((), cursor, False)

    async def test_an_announcement_takes_the_next_position(self) -> None:
        async with self.opened() as feed:
            start = await feed.cursor("ann")
            assert await feed.announce("ann", "a", head_seq=3) == 1
            assert await feed.announce("ann", "b", head_seq=1) == 2
            assert await feed.announce("ann", "a", read_seq=2) == 3
            now = FeedCursor(start.epoch, 3)
            assert await feed.cursor("ann") == now
            assert await feed.changed_since("ann", start, limit=9) == FeedPage(
                (FeedEntry("a", 3, 3, 2), FeedEntry("b", 2, 1, 0)), now, False
            )
            assert await feed.changed_since("ann", FeedCursor(start.epoch, 2), limit=9) == FeedPage(
                (FeedEntry("a", 3, 3, 2),), now, False
            )
            assert await feed.changed_since("ann", now, limit=9) == FeedPage((), now, False)
            assert (await feed.cursor("bob")).position == 0

    async def test_announcing_again_late_or_out_of_order_is_harmless(self) -> None:
        """Caught when every announcement took a position: a repeated one woke all devices of a user."""
        async with self.opened() as feed:
            start = await feed.cursor("ann")
            assert await feed.announce("ann", "a", head_seq=5, read_seq=4) == 1
            for head_seq, read_seq in ((5, 4), (4, 4), (5, 3), (0, 0), (2, 0)):
                assert await feed.announce("ann", "a", head_seq=head_seq, read_seq=read_seq) is None
            assert await feed.announce("ann", "a", head_seq=2, read_seq=6) == 2
            assert await feed.announce("ann", "never", head_seq=0) is None
            page = await feed.changed_since("ann", start, limit=9)
            assert page.entries == (FeedEntry("a", 2, 5, 6),)

    async def test_an_announcement_of_nothing_to_a_new_user_leaves_position_0(self) -> None:
        async with self.opened() as feed:
            assert await feed.announce("ann", "a") is None
            assert (await feed.cursor("ann")).position == 0

    async def test_a_page_ends_at_its_limit_and_says_so(self) -> None:
        """What does not fit is the older part. The cursor covers it too: the reader acts on `more`."""
        async with self.opened() as feed:
            start = await feed.cursor("ann")
            for number in range(1, 6):
                await feed.announce("ann", f"c{number}", head_seq=number)
            now = FeedCursor(start.epoch, 5)
            page = await feed.changed_since("ann", start, limit=3)
            assert [entry.channel_id for entry in page.entries] == ["c5", "c4", "c3"]
            assert (page.more, page.cursor) == (True, now)
            page = await feed.changed_since("ann", start, limit=5)
            assert (len(page.entries), page.more) == (5, False)
            page = await feed.changed_since("ann", FeedCursor(start.epoch, 3), limit=2)
            assert (len(page.entries), page.more) == (2, False)

    async def test_a_cursor_of_another_life_is_refused(self) -> None:
        """Caught when positions of two epochs were compared: a device skipped what it had never seen."""
        async with self.opened() as old, self.opened() as feed:
            cursor = await old.cursor("ann")
            assert cursor.epoch != (await feed.cursor("ann")).epoch
            await feed.announce("ann", "a", head_seq=1)
            with pytest.raises(EpochChanged):
                await feed.changed_since("ann", cursor, limit=9)
            with pytest.raises(EpochChanged):
                await feed.changed_since("ann", FeedCursor("", 0), limit=9)

    async def test_a_position_that_was_never_given_is_refused(self) -> None:
        async with self.opened() as feed:
            epoch = (await feed.cursor("ann")).epoch
            await feed.announce("ann", "a", head_seq=1)
            for position in (2, 1 << 60, -1):
                with pytest.raises(EpochChanged):
                    await feed.changed_since("ann", FeedCursor(epoch, position), limit=9)

    async def test_announcements_at_once_each_take_a_position_of_their_own(self) -> None:
        async with self.opened() as feed:
            answers = await asyncio.gather(
                *(feed.announce("ann", f"c{number % 10}", head_seq=number + 1) for number in range(100))
            )
            positions = [position for position in answers if position is not None]
            assert len(set(positions)) == len(positions)
            assert max(positions) <= 100
            assert await feed.cursor("ann") == FeedCursor((await feed.cursor("ann")).epoch, max(positions))
            page = await feed.changed_since("ann", FeedCursor((await feed.cursor("ann")).epoch, 0), limit=99)
            assert {entry.channel_id: entry.head_seq for entry in page.entries} == {
                f"c{number}": 91 + number for number in range(10)
            }
            assert len({entry.position for entry in page.entries}) == 10

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.function_scoped_fixture],
    )
    @given(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["ann", "bob"]),
                st.sampled_from(["a", "b", "c", "d"]),
                st.integers(0, 5),
                st.integers(0, 5),
            ),
            max_size=30,
        ),
        since=st.integers(0, 30),
        limit=st.integers(1, 5),
    )
    async def test_it_behaves_like_a_dictionary(
        self, steps: list[tuple[str, str, int, int]], since: int, limit: int
    ) -> None:
        """Any announcements, and what changed since any position, against a dictionary."""
        async with self.opened() as feed:
            newest = {"ann": 0, "bob": 0}
            entries: dict[tuple[str, str], FeedEntry] = {}
            for user, channel, head_seq, read_seq in steps:
                held = entries.get((user, channel), FeedEntry(channel, 0, 0, 0))
                greater = head_seq > held.head_seq or read_seq > held.read_seq
                if greater:
                    newest[user] += 1
                    entries[user, channel] = FeedEntry(
                        channel, newest[user], max(head_seq, held.head_seq), max(read_seq, held.read_seq)
                    )
                position = await feed.announce(user, channel, head_seq=head_seq, read_seq=read_seq)
                assert position == (newest[user] if greater else None)
            for user in ("ann", "bob"):
                now = await feed.cursor(user)
                assert now.position == newest[user]
                start = min(since, now.position)
                changed = sorted(
                    (
                        entry
                        for (owner, _), entry in entries.items()
                        if owner == user and entry.position > start
                    ),
                    key=lambda entry: -entry.position,
                )
                page = await feed.changed_since(user, FeedCursor(now.epoch, start), limit=limit)
                assert page == FeedPage(tuple(changed[:limit]), now, len(changed) > limit)
