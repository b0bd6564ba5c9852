"""The laws of MessageLog about rows picked one by one and rows emptied. A part of message_log_contract."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from parley_server.ports.message_log import Committed, LogPage
from parley_server.testing.message_log_suite import EVERYTHING, MessageLogSuite, batch_id, row, rows

BEYOND = 1 << 32


class MessageLogErasureContract(MessageLogSuite):
    """`pick`, `erase` and `compact`."""

    async def test_rows_are_picked_once_each_and_in_order(self) -> None:
        """Caught when the rows came in the order asked for, and when events other than messages were left
        out.
        """
        async with self.opened() as log:
            assert await log.pick("a", (1, 2)) == ()
            batch = [row(seq, is_message=seq % 3 != 0) for seq in range(1, 10)]
            await log.append("a", 0, batch, batch_id(1))
            assert await log.pick("a", (7, 3, 7, 1, 99)) == (batch[0], batch[2], batch[6])
            assert await log.pick("a", ()) == ()
            assert await log.pick("a", range(1, 1000)) == tuple(batch)

    async def test_places_beyond_a_channel_are_nobodys(self) -> None:
        """Caught when a seq was added to the channel's number unchecked: it named another one's row."""
        async with self.opened() as log:
            for name in "abc":
                await log.append(name, 0, [row(1, event=name.encode())], batch_id(1))
            for seq in (BEYOND + 1, 1 - BEYOND, 0, -1, 1 << 53):
                assert await log.pick("b", (seq,)) == ()
                await log.erase("b", [replace(row(1, event=b""), seq=seq)])
            for name in "abc":
                assert await log.pick(name, (1,)) == (row(1, event=name.encode()),)

    async def test_an_erased_row_keeps_its_place_and_nothing_else_changes(self) -> None:
        """Caught when an erased row was written with another batch id: an unknown append counted as lost."""
        async with self.opened() as log:
            batch = [row(seq, is_message=seq != 3) for seq in range(1, 7)]
            await log.append("a", 0, batch, batch_id(1))
            await log.append("b", 0, rows(1, 6), batch_id(2))
            await log.mark_fanned("a", 4)
            erased = [
                replace(batch[1], event=b""),
                replace(batch[2], event=b"longer than it was before"),
            ]
            await log.erase("a", erased)
            now = (batch[0], *erased, *batch[3:])
            log = await self.reopen(log)
            try:
                page = await log.read("a", 1, EVERYTHING, limit=9, limit_bytes=EVERYTHING)
                assert page == LogPage(now, 6, False)
                assert await log.pick("a", range(9)) == now
                assert [await log.batch_at("a", seq) for seq in range(1, 8)] == [*[batch_id(1)] * 6, None]
                assert (await log.head("a"), await log.fanned("a")) == (6, 4)
                assert await log.pick("b", range(9)) == tuple(rows(1, 6))
                assert await log.append("a", 6, rows(7, 7), batch_id(3)) == Committed()
            finally:
                await self.discard(log)

    async def test_a_row_takes_the_place_only_of_its_own(self) -> None:
        """Caught when only the seq was compared: an erasure that was meant for another row destroyed this."""
        async with self.opened() as log:
            await log.erase("a", rows(1, 1))
            assert await log.head("a") == 0
            batch = [row(1), row(2, is_message=False), row(3)]
            await log.append("a", 0, batch, batch_id(1))
            await log.erase(
                "a",
                [
                    replace(batch[0], digest=b"another", event=b""),
                    replace(batch[0], is_message=False, event=b""),
                    replace(batch[1], is_message=True, event=b""),
                    replace(batch[2], seq=4, event=b""),
                ],
            )
            assert await log.pick("a", range(9)) == tuple(batch)
            # Those that fit are erased all the same.
            await log.erase(
                "a",
                [
                    replace(batch[0], digest=b"another"),
                    replace(batch[2], event=b""),
                ],
            )
            assert await log.pick("a", (3,)) == (replace(batch[2], event=b""),)

    async def test_erasing_and_appending_do_not_disturb_one_another(self) -> None:
        """Caught when erasing wrote the head it had read: the next append conflicted for ever."""
        async with self.opened() as log:
            await log.append("a", 0, rows(1, 50), batch_id(1))

            async def append() -> None:
                for seq in range(51, 101):
                    assert await log.append("a", seq - 1, rows(seq, seq), batch_id(seq)) == Committed()

            async def erase() -> None:
                for seq in range(1, 51):
                    await log.erase("a", [row(seq, event=b"")])
                    assert (await log.pick("a", (seq,)))[0].event == b""

            await asyncio.gather(append(), erase(), log.compact())
            page = await log.read("a", 1, EVERYTHING, limit=200, limit_bytes=EVERYTHING)
            assert page.rows == (*[row(seq, event=b"") for seq in range(1, 51)], *rows(51, 100))

    async def test_compacting_changes_nothing_that_is_read(self) -> None:
        async with self.opened() as log:
            await log.compact()
            await log.append("a", 0, rows(1, 3), batch_id(1))
            await log.mark_active(1, 10, "a")
            await log.compact()
            assert await log.pick("a", range(9)) == tuple(rows(1, 3))
            assert await log.active(1, 10) == ("a",)
            assert await log.append("a", 3, rows(4, 4), batch_id(2)) == Committed()
