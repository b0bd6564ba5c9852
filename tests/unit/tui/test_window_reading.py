"""Reading in the window: who reads is not moved, and what was read is told."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from parley_cli.tui.model import actions as act
from parley_cli.tui.model import commands as ask

if TYPE_CHECKING:
    from tests.unit.tui.conftest import Messages, OpenWindow


def _stories(screen: str) -> list[int]:
    return [int(number) for number in re.findall(r"  story (\d+)", screen)]


async def test_a_reader_in_the_middle_stays_while_everything_else_moves(
    opened: OpenWindow, messages: Messages
) -> None:
    """Older pages, new messages, an edit above, another size. Planted: a place counted in lines."""
    async with opened(*messages(101, 160), complete=False) as window:
        await window.pilot.press("pageup", "pageup")
        await window.until(lambda: 160 not in _stories(window.screen()))
        before = _stories(window.screen())
        await window.tell(act.NewsCame(window.group, messages(161, 170)))
        assert _stories(window.screen()) == before
        await window.tell(act.PageCame(window.group, messages(41, 100), False))
        assert _stories(window.screen()) == before
        longer = replace(messages(101, 101)[0], text="one\ntwo\nthree", edited=True)
        await window.tell(act.NewsCame(window.group, (longer,)))
        assert _stories(window.screen()) == before
        await window.pilot.resize_terminal(70, 18)
        await window.until(lambda: 0 < len(_stories(window.screen())) < len(before))
        assert _stories(window.screen())[0] == before[0]


async def test_scrolling_to_the_top_asks_for_one_page_at_a_time(
    opened: OpenWindow, messages: Messages
) -> None:
    """Planted: without the guard every step of the wheel asked again."""
    async with opened(*messages(101, 160), complete=False) as window:
        await window.pilot.press("shift+tab")
        for _ in range(8):
            await window.pilot.press("home")
        await window.until(lambda: len(window.asked(ask.LoadPage)) == 2)
        assert window.asked(ask.LoadPage)[1] == ask.LoadPage(window.group, 101)
        await window.tell(act.PageCame(window.group, messages(41, 100), False))
        await window.pilot.press("home")
        await window.until(lambda: len(window.asked(ask.LoadPage)) == 3)
        assert window.asked(ask.LoadPage)[2] == ask.LoadPage(window.group, 41)


async def test_reading_is_told_only_while_somebody_looks_at_the_end(
    opened: OpenWindow, messages: Messages
) -> None:
    async with opened(*messages(1, 60)) as window:
        window.session.commands.clear()
        await window.pilot.press("pageup")
        await window.until(lambda: not window.chat.state.at_end)
        await window.tell(act.HeadMoved("c", 61, 1), act.NewsCame(window.group, messages(61, 61)))
        assert window.asked(ask.MarkRead) == []
        await window.pilot.press("pagedown", "pagedown")
        await window.until(lambda: window.asked(ask.MarkRead) == [ask.MarkRead("c", 61)])


async def test_a_storm_of_news_is_painted_a_few_times(opened: OpenWindow, messages: Messages) -> None:
    """Planted: a paint for each event took a second for a thousand of them."""
    async with opened(*messages(1, 60)) as window:
        painted = 0
        paint = window.chat.paint

        def counted() -> None:
            nonlocal painted
            painted += 1
            paint()

        window.chat.paint = counted  # type: ignore[method-assign]
        for seq in range(61, 1061):
            window.session.emit(act.NewsCame(window.group, messages(seq, seq)))
        await window.shows("story 1060")
        assert painted < 10
