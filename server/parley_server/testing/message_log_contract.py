"""The laws of MessageLog as tests. A backend keeps them or it is not one.

class TestMyMessageLog(MessageLogContract):
    async def make(self) -> MessageLog: ...
"""

from __future__ import annotations

import asyncio
import random

import pytest

from parley_server.ports.message_log import Committed, Conflict, LogPage, Row
from parley_server.testing.message_log_erasure_contract import MessageLogErasureContract
from parley_server.testing.message_log_suite import EVERYTHING, batch_id, row, rows
from parley_server.testing.message_log_walk_contract import MessageLogWalkContract


class MessageLogContract(MessageLogErasureContract, MessageLogWalkContract):
    """Every test of every MessageLog. `make` opens an empty one."""

    async def test_a_channel_never_written_is_empty(self) -> None:
        async with self.opened() as log:
            assert await log.head("nowhere") == 0
            assert await log.fanned("nowhere") == 0
            assert await log.batch_at("nowhere", 1) is None
            page = await log.read("nowhere", 1, EVERYTHING, limit=10, limit_bytes=EVERYTHING)
            assert page == LogPage((), 0, False)

    async def test_what_was_committed_is_read_back(self) -> None:
        async with self.opened() as log:
            batch = [row(1, is_message=False), row(2), row(3)]
            assert await log.append("a", 0, batch, batch_id(7)) == Committed()
            assert await log.head("a") == 3
            page = await log.read("a", 1, 3, limit=10, limit_bytes=EVERYTHING)
            assert page == LogPage(tuple(batch), 3, False)
            assert [await log.batch_at("a", seq) for seq in range(5)] == [None, *[batch_id(7)] * 3, None]

    async def test_only_the_expected_head_is_appended_to(self) -> None:
        """Caught when append did not compare: a second batch at head 0 was committed over the first."""
        async with self.opened() as log:
            await log.append("a", 0, rows(1, 3), batch_id(1))
            for wrong in (0, 1, 2, 4, 9):
                other = [row(wrong + 1, event=b"other")]
                assert await log.append("a", wrong, other, batch_id(2)) == Conflict(3)
            page = await log.read("a", 1, EVERYTHING, limit=10, limit_bytes=EVERYTHING)
            assert page == LogPage(tuple(rows(1, 3)), 3, False)
            assert await log.append("a", 3, rows(4, 4), batch_id(3)) == Committed()

    async def test_a_conflict_on_a_new_channel_leaves_no_trace(self) -> None:
        async with self.opened() as log:
            assert await log.append("a", 5, rows(6, 6), batch_id(1)) == Conflict(0)
            assert await log.head("a") == 0
            assert await log.append("a", 0, rows(1, 1), batch_id(2)) == Committed()

    async def test_rows_must_be_there_and_dense(self) -> None:
        async with self.opened() as log:
            for wrong in ([], [row(2)], [row(1), row(3)], [row(1), row(1)]):
                with pytest.raises(ValueError):
                    await log.append("a", 0, wrong, batch_id(1))
            assert await log.head("a") == 0

    async def test_channels_do_not_touch_one_another(self) -> None:
        async with self.opened() as log:
            await log.append("a", 0, rows(1, 2), batch_id(1))
            await log.append("b", 0, [row(1, event=b"of b")], batch_id(2))
            page = await log.read("b", 1, EVERYTHING, limit=10, limit_bytes=EVERYTHING)
            assert page == LogPage((row(1, event=b"of b"),), 1, False)
            assert await log.head("a") == 2

    async def test_of_appends_racing_at_one_head_exactly_one_commits(self) -> None:
        """Caught when heads were compared before the transaction instead of within it."""
        async with self.opened() as log:
            for head in range(20):
                racers = [
                    log.append("a", head, [row(head + 1, event=b"racer %d" % number)], batch_id(number))
                    for number in range(16)
                ]
                results = await asyncio.gather(*racers)
                winners = [number for number, result in enumerate(results) if result == Committed()]
                assert len(winners) == 1
                assert results.count(Conflict(head + 1)) == 15
                assert await log.batch_at("a", head + 1) == batch_id(winners[0])
                page = await log.read("a", head + 1, head + 1, limit=1, limit_bytes=EVERYTHING)
                assert page.rows[0].event == b"racer %d" % winners[0]

    async def test_a_failed_racer_does_not_take_its_neighbours_with_it(self) -> None:
        """Appends that wait together are committed together; those that conflict must not undo the others."""
        async with self.opened() as log:
            await log.append("full", 0, rows(1, 1), batch_id(1))
            appends = []
            for number in range(40):
                appends.append(log.append(f"channel {number}", 0, rows(1, 2), batch_id(number)))
                appends.append(log.append("full", 0, rows(1, 1), batch_id(number)))
            results = await asyncio.gather(*appends)
            assert results[0::2] == [Committed()] * 40
            assert results[1::2] == [Conflict(1)] * 40
            assert [await log.head(f"channel {number}") for number in range(40)] == [2] * 40

    async def test_chains_of_appends_waiting_together_all_commit(self) -> None:
        """Ten appends of one channel, each at the head that the one before leaves, may share a commit."""
        async with self.opened() as log:
            chain = [log.append("a", head, rows(head + 1, head + 1), batch_id(head)) for head in range(10)]
            assert await asyncio.gather(*chain) == [Committed()] * 10
            page = await log.read("a", 1, EVERYTHING, limit=99, limit_bytes=EVERYTHING)
            assert page == LogPage(tuple(rows(1, 10)), 10, False)

    async def test_committed_rows_outlive_the_store_being_closed(self) -> None:
        async with self.opened() as log:
            await log.append("a", 0, [row(1), row(2, is_message=False)], batch_id(1))
            await log.append("b", 0, rows(1, 1), batch_id(2))
            log = await self.reopen(log)
            try:
                page = await log.read("a", 1, EVERYTHING, limit=9, limit_bytes=EVERYTHING)
                assert page == LogPage((row(1), row(2, is_message=False)), 2, False)
                assert await log.batch_at("b", 1) == batch_id(2)
                assert await log.append("a", 0, rows(1, 1), batch_id(3)) == Conflict(2)
                assert await log.append("a", 2, rows(3, 3), batch_id(4)) == Committed()
            finally:
                await self.discard(log)

    async def test_a_reader_sees_prefixes_and_every_append_that_returned(self) -> None:
        """Caught when the head was read after the rows: a page ended before its own head."""
        async with self.opened() as log:
            committed = 0

            async def write() -> None:
                nonlocal committed
                chooser = random.Random(1)
                while committed < 300:
                    count = chooser.randint(1, 4)
                    batch = [
                        row(seq, is_message=chooser.random() < 0.7)
                        for seq in range(committed + 1, committed + count + 1)
                    ]
                    assert await log.append("a", committed, batch, batch_id(committed)) == Committed()
                    committed += count

            async def read(newest_first: bool) -> None:
                last_head = 0
                while last_head < 300:
                    before = committed
                    page = await log.read(
                        "a", 1, EVERYTHING, limit=1000, limit_bytes=EVERYTHING, newest_first=newest_first
                    )
                    seqs = [known.seq for known in page.rows]
                    if newest_first:
                        seqs.reverse()
                    assert seqs == list(range(1, page.head + 1))
                    assert page.head >= before
                    assert page.head >= last_head
                    assert await log.head("a") >= page.head
                    last_head = page.head
                    await asyncio.sleep(0)

            await asyncio.gather(write(), read(False), read(True), read(False))

    async def test_a_page_ends_at_its_limits_and_says_so(self) -> None:
        async with self.opened() as log:
            await log.append("a", 0, [row(seq, event=b"x" * 10) for seq in range(1, 11)], batch_id(1))

            async def seqs(
                from_seq: int, to_seq: int, limit: int, limit_bytes: int, newest_first: bool = False
            ) -> tuple[list[int], bool]:
                page = await log.read(
                    "a", from_seq, to_seq, limit=limit, limit_bytes=limit_bytes, newest_first=newest_first
                )
                assert page.head == 10
                return [known.seq for known in page.rows], page.more

            assert await seqs(1, 10, 10, 1000) == ([*range(1, 11)], False)
            assert await seqs(1, 10, 9, 1000) == ([*range(1, 10)], True)
            assert await seqs(1, 9, 9, 1000) == ([*range(1, 10)], False)
            assert await seqs(3, 99, 3, 1000) == ([3, 4, 5], True)
            assert await seqs(-5, 2, 9, 1000) == ([1, 2], False)
            assert await seqs(1, 10, 10, 30) == ([1, 2, 3], True)
            assert await seqs(1, 10, 10, 29) == ([1, 2], True)
            assert await seqs(1, 10, 10, 1) == ([1], True)
            assert await seqs(10, 10, 10, 1) == ([10], False)
            assert await seqs(1, 99, 3, 1000, True) == ([10, 9, 8], True)
            assert await seqs(1, 4, 9, 20, True) == ([4, 3], True)
            assert await seqs(5, 4, 9, 1000) == ([], False)
            assert await seqs(11, 99, 9, 1000) == ([], False)

    async def test_a_reader_of_messages_passes_over_other_events(self) -> None:
        """Caught when `more` counted other events: the last page promised another one that was empty."""
        async with self.opened() as log:
            batch = [row(seq, is_message=seq % 10 == 0) for seq in range(1, 101)]
            await log.append("a", 0, batch, batch_id(1))
            await log.append("a", 100, [row(seq, is_message=False) for seq in range(101, 201)], batch_id(2))

            async def read(from_seq: int, to_seq: int, newest_first: bool) -> LogPage:
                return await log.read(
                    "a",
                    from_seq,
                    to_seq,
                    limit=3,
                    limit_bytes=EVERYTHING,
                    newest_first=newest_first,
                    only_messages=True,
                )

            assert await read(1, 200, True) == LogPage((row(100), row(90), row(80)), 200, True)
            assert await read(1, 200, False) == LogPage((row(10), row(20), row(30)), 200, True)
            assert await read(80, 200, False) == LogPage((row(80), row(90), row(100)), 200, False)
            assert await read(1, 30, True) == LogPage((row(30), row(20), row(10)), 200, False)
            assert await read(101, 200, True) == LogPage((), 200, False)

    async def test_the_largest_event_comes_back_byte_for_byte(self) -> None:
        """100,000 code points of four bytes each: the largest text there is."""
        async with self.opened() as log:
            largest = ("🧵" * 100_000).encode()
            awkward = bytes(range(256)) * 8
            batch = [row(1, event=largest), row(2, event=b""), row(3, event=awkward)]
            assert await log.append("a", 0, batch, batch_id(1)) == Committed()
            page = await log.read("a", 1, 3, limit=9, limit_bytes=1 << 20)
            assert page.rows == tuple(batch)
            assert (await log.read("a", 1, 3, limit=9, limit_bytes=1000)).rows == (batch[0],)

    async def test_digests_of_any_length_come_back(self) -> None:
        async with self.opened() as log:
            batch = [Row(1, True, b"", b"one"), Row(2, False, b"\0" * 32, b"two")]
            await log.append("a", 0, batch, batch_id(1))
            assert (await log.read("a", 1, 2, limit=9, limit_bytes=99)).rows == tuple(batch)

    async def test_the_fanned_mark_only_rises(self) -> None:
        async with self.opened() as log:
            await log.append("a", 0, rows(1, 5), batch_id(1))
            assert await log.fanned("a") == 0
            for mark, expected in ((3, 3), (2, 3), (5, 5), (0, 5)):
                await log.mark_fanned("a", mark)
                assert await log.fanned("a") == expected
            await log.append("b", 0, rows(1, 5), batch_id(2))
            await asyncio.gather(*(log.mark_fanned("b", seq) for seq in (1, 4, 2)))
            assert await log.fanned("b") == 4
            assert await log.head("a") == 5

    async def test_the_active_set_holds_each_channel_once_from_the_minute_asked_for(self) -> None:
        async with self.opened() as log:
            for slot, minute, channel_id in (
                (1, 10, "a"),
                (1, 10, "a"),
                (1, 11, "b"),
                (1, 12, "a"),
                (2, 11, "c"),
            ):
                await log.mark_active(slot, minute, channel_id)
            assert sorted(await log.active(1, 0)) == ["a", "b"]
            assert sorted(await log.active(1, 11)) == ["a", "b"]
            assert sorted(await log.active(1, 12)) == ["a"]
            assert await log.active(1, 13) == ()
            assert await log.active(2, 0) == ("c",)
            assert await log.active(3, 0) == ()
            log = await self.reopen(log)
            try:
                assert sorted(await log.active(1, 11)) == ["a", "b"]
                # A set is kept for at least an hour.
                await log.mark_active(1, 12 + 59, "d")
                assert sorted(await log.active(1, 12)) == ["a", "d"]
            finally:
                await self.discard(log)
