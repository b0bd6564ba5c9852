"""What happens while a page is under way is not lost, and what is not held is not hoarded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import parley
from parley_cli.tui.log import PAGE_SIZE, Log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def _message(seq: int, *, thread_root_seq: int = 0) -> parley.MessageEvent:
    return parley.MessageEvent(
        channel_id="c",
        seq=seq,
        message_no=seq,
        create_time_ms=seq,
        actor_id="b",
        text=f"text {seq}",
        thread_root_seq=thread_root_seq,
    )


def _edit(seq: int, target_seq: int) -> parley.EditEvent:
    return parley.EditEvent(
        channel_id="c",
        seq=seq,
        message_no=3,
        create_time_ms=seq,
        actor_id="b",
        target_seq=target_seq,
        text="edited",
    )


class SlowChannel:
    """A channel whose pages come when the test says so, as they were when they were asked for."""

    def __init__(self, *events: parley.MessageEvent) -> None:
        self.gate = asyncio.Event()
        self._events = events

    async def history(self, limit: int, before_seq: int) -> AsyncIterator[parley.MessageEvent]:
        """The messages, newest first."""
        await self.gate.wait()
        for event in reversed(self._events):
            yield event

    async def thread(self, root: int, limit: int, before_seq: int) -> AsyncIterator[parley.MessageEvent]:
        """The replies, newest first."""
        async for event in self.history(limit, before_seq):
            if event.thread_root_seq == root:
                yield event

    async def message(self, seq: int) -> parley.MessageEvent:
        """One message."""
        return next(event for event in self._events if event.seq == seq)


async def test_an_edit_that_comes_while_the_page_is_under_way_is_seen_on_it() -> None:
    """Planted: a log that passed over events about messages it did not hold yet."""
    channel = SlowChannel(_message(1), _message(2))
    log = Log(("c", 0), "a")
    page = asyncio.create_task(log.page(cast("parley.Channel", channel), 0))
    await asyncio.sleep(0)
    log.take(_edit(3, 1))
    channel.gate.set()
    messages, complete = await page
    assert [(each.text, each.edited) for each in messages] == [("edited", True), ("text 2", False)]
    assert complete, f"fewer than {PAGE_SIZE}: there is nothing before them"


async def test_what_happens_to_messages_that_are_not_held_is_passed_over() -> None:
    """A later page tells it. Planted: records for them were kept for ever."""
    log = Log(("c", 0), "a")
    assert log.take(_edit(3, 1)) == []
    assert [each.text for each in log.take(_message(4))] == ["text 4"]


async def test_a_thread_takes_its_root_and_its_replies_only() -> None:
    channel = SlowChannel(_message(1), _message(2), _message(3, thread_root_seq=1))
    channel.gate.set()
    log = Log(("c", 1), "a")
    messages, _ = await log.page(cast("parley.Channel", channel), 0)
    assert [each.seq for each in messages] == [1, 3]
    assert log.take(_message(4)) == []
    root, reply = log.take(_message(5, thread_root_seq=1))
    assert (root.seq, root.reply_count, reply.seq) == (1, 2, 5)
