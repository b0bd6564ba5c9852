"""The laws of Positions as tests. See message_log_contract for how a backend uses them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley_server.ports.positions import NOTHING_READ, FeedCursor, Positions, ReadMark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_users = st.sampled_from(["ann", "bob"])
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("read"), _users, st.sampled_from(["a", "b"]), st.integers(0, 9)),
        st.tuples(st.just("acknowledge"), _users, st.sampled_from(["x", "y"]), st.integers(0, 9)),
        st.tuples(st.just("forget"), _users, st.just("phone"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(""), st.just(""), st.just(0)),
    ),
    max_size=30,
)


class PositionsContract(ABC):
    """Every test of every Positions. `make` opens an empty one."""

    @abstractmethod
    async def make(self) -> Positions:
        """Empty positions."""

    async def discard(self, positions: Positions) -> None:
        """Close what `make` or `reopen` opened."""
        return

    async def reopen(self, positions: Positions) -> Positions:
        """Close and open again. A store that ends with its process returns it as it is."""
        return positions

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Positions]:
        """Positions for the length of a block."""
        positions = await self.make()
        try:
            yield positions
        finally:
            await self.discard(positions)

    async def test_what_was_never_marked_is_left_out(self) -> None:
        async with self.opened() as positions:
            assert await positions.read_marks("ann", ["a", "b"]) == {}
            assert await positions.read_marks("ann", []) == {}
            assert await positions.readers("a", ["ann"]) == {}
            assert await positions.readers("a", []) == {}
            assert await positions.acknowledged("ann", "phone") is None
            await positions.forget_device("ann", "phone")

    async def test_a_mark_never_goes_back(self) -> None:
        """Caught when the last write held: an old device's mark made read messages unread."""
        async with self.opened() as positions:
            assert await positions.mark_read("ann", "a", ReadMark(5, 3)) == ReadMark(5, 3)
            assert await positions.mark_read("ann", "a", ReadMark(4, 2)) == ReadMark(5, 3)
            assert await positions.mark_read("ann", "a", ReadMark(5, 9)) == ReadMark(5, 3)
            assert await positions.mark_read("ann", "a", ReadMark(6, 4)) == ReadMark(6, 4)
            assert await positions.mark_read("bob", "a", NOTHING_READ) == NOTHING_READ
            assert await positions.read_marks("ann", ["a", "b"]) == {"a": ReadMark(6, 4)}
            assert await positions.readers("a", ["bob", "ann"]) == {"ann": ReadMark(6, 4)}

    async def test_marks_are_kept_by_user_and_channel(self) -> None:
        async with self.opened() as positions:
            marks = {
                (user, channel): ReadMark(10 * u + c + 1, u)
                for u, user in enumerate(["ann", "bob", "cyd"])
                for c, channel in enumerate(["a", "b", "c"])
            }
            await asyncio.gather(*(positions.mark_read(*key, mark) for key, mark in marks.items()))
            assert await positions.read_marks("bob", ["a", "c", "never", "a"]) == {
                "a": marks["bob", "a"],
                "c": marks["bob", "c"],
            }
            assert await positions.readers("b", ["cyd", "ann", "never"]) == {
                "ann": marks["ann", "b"],
                "cyd": marks["cyd", "b"],
            }

    async def test_devices_that_write_at_once_end_with_the_larger_mark(self) -> None:
        async with self.opened() as positions:
            seqs = [(7 * number) % 50 + 1 for number in range(50)]
            results = await asyncio.gather(
                *(positions.mark_read("ann", "a", ReadMark(seq, seq)) for seq in seqs)
            )
            for seq, result in zip(seqs, results, strict=True):
                assert result.seq >= seq
            assert await positions.read_marks("ann", ["a"]) == {"a": ReadMark(50, 50)}
            cursors = await asyncio.gather(
                *(positions.acknowledge("ann", "phone", FeedCursor("x", seq)) for seq in seqs)
            )
            for seq, cursor in zip(seqs, cursors, strict=True):
                assert cursor.position >= seq
            assert await positions.acknowledged("ann", "phone") == FeedCursor("x", 50)

    async def test_a_cursor_of_another_epoch_replaces(self) -> None:
        async with self.opened() as positions:
            for given_cursor, held in (
                (FeedCursor("x", 5), FeedCursor("x", 5)),
                (FeedCursor("x", 3), FeedCursor("x", 5)),
                (FeedCursor("y", 1), FeedCursor("y", 1)),
                (FeedCursor("y", 0), FeedCursor("y", 1)),
                (FeedCursor("x", 0), FeedCursor("x", 0)),
            ):
                assert await positions.acknowledge("ann", "phone", given_cursor) == held
                assert await positions.acknowledged("ann", "phone") == held
            assert await positions.acknowledged("ann", "tablet") is None
            assert await positions.acknowledged("bob", "phone") is None
            await positions.forget_device("ann", "phone")
            assert await positions.acknowledged("ann", "phone") is None

    async def test_marks_outlive_the_store_being_closed(self) -> None:
        async with self.opened() as positions:
            await positions.mark_read("ann", "a", ReadMark(5, 3))
            await positions.acknowledge("ann", "phone", FeedCursor("x", 9))
            positions = await self.reopen(positions)
            try:
                assert await positions.read_marks("ann", ["a"]) == {"a": ReadMark(5, 3)}
                assert await positions.acknowledged("ann", "phone") == FeedCursor("x", 9)
            finally:
                await self.discard(positions)

    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[
            HealthCheck.differing_executors,
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
        ],
    )
    @given(steps=_steps)
    async def test_it_behaves_like_dictionaries(self, steps: list[tuple[str, str, str, int]]) -> None:
        """Any sequence of marks, cursors and restarts, against two dictionaries."""
        positions = await self.make()
        try:
            marks: dict[tuple[str, str], int] = {}
            cursors: dict[str, FeedCursor] = {}
            for what, user, name, number in steps:
                if what == "read":
                    marks[user, name] = max(number, marks.get((user, name), 0))
                    held = await positions.mark_read(user, name, ReadMark(number, number))
                    assert held.seq == marks[user, name]
                elif what == "acknowledge":
                    old = cursors.get(user)
                    if old is None or old.epoch != name or old.position < number:
                        cursors[user] = FeedCursor(name, number)
                    cursor = FeedCursor(name, number)
                    assert await positions.acknowledge(user, "phone", cursor) == cursors[user]
                elif what == "forget":
                    cursors.pop(user, None)
                    await positions.forget_device(user, "phone")
                else:
                    positions = await self.reopen(positions)
            for user in ("ann", "bob"):
                assert await positions.acknowledged(user, "phone") == cursors.get(user)
                assert await positions.read_marks(user, ["a", "b"]) == {
                    channel: ReadMark(seq, seq)
                    for (owner, channel), seq in marks.items()
                    if owner == user and seq
                }
        finally:
            await self.discard(positions)

    async def test_mutes_hold_until_set_otherwise(self) -> None:
        """The newest setting holds, per user and channel, over a restart; 0 takes it away.

        Caught when 0 was stored as a mute that had ended.
        """
        async with self.opened() as positions:
            await positions.set_mute("ann", "a", 5000)
            await positions.set_mute("ann", "b", 7000)
            await positions.set_mute("bob", "a", 9000)
            await positions.set_mute("ann", "a", 3000)
            await positions.set_mute("ann", "b", 0)
            await positions.set_mute("ann", "c", 0)
            assert await positions.mutes("ann", ["a", "b", "c"]) == {"a": 3000}
            positions = await self.reopen(positions)
            assert await positions.mutes("bob", ["a"]) == {"a": 9000}

    async def test_a_forgotten_user_leaves_nothing(self) -> None:
        """Marks, mutes and cursors of the one go, those of the other stay. Caught without the mutes."""
        async with self.opened() as positions:
            for user_id in ("ann", "bob"):
                await positions.mark_read(user_id, "a", ReadMark(3, 2))
                await positions.set_mute(user_id, "a", 5000)
                await positions.acknowledge(user_id, "phone", FeedCursor("e", 1))
            await positions.forget_user("ann")
            assert await positions.read_marks("ann", ["a"]) == {}
            assert await positions.mutes("ann", ["a"]) == {}
            assert await positions.acknowledged("ann", "phone") is None
            assert await positions.read_marks("bob", ["a"]) == {"a": ReadMark(3, 2)}
            assert await positions.mutes("bob", ["a"]) == {"a": 5000}
            assert await positions.acknowledged("bob", "phone") == FeedCursor("e", 1)
