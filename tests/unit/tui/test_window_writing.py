"""Writing in the window: lines, names, what was refused, what is too long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual._xterm_parser import XTermParser
from textual.events import Key

from parley_cli.tui.composer import NEW_LINE_KEYS, Composer
from parley_cli.tui.model import actions as act
from parley_cli.tui.model import commands as ask

if TYPE_CHECKING:
    from tests.unit.tui.conftest import Messages, OpenWindow


async def test_enter_sends_and_other_enters_make_lines(opened: OpenWindow) -> None:
    """Planted: without the table for Alt-Enter it was sent in the middle."""
    async with opened() as window:
        await window.pilot.press("안", "녕", "ctrl+j", "h", "i", "enter")
        await window.until(lambda: bool(window.asked(ask.Post)))
        (post,) = window.asked(ask.Post)
        assert isinstance(post, ask.Post) and post.pending.text == "안녕\nhi"
        await window.shows("안녕", "hi", "sending …")
    for sequence in ("\x1b\r", "\n", "\x1b[13;2u", "\x1b[13;3u", "\x1b[27;2;13~"):
        keys = [event.key for event in XTermParser().feed(sequence) if isinstance(event, Key)]
        assert len(keys) == 1 and keys[0] in NEW_LINE_KEYS, sequence


async def test_typing_in_a_list_is_writing(opened: OpenWindow) -> None:
    """The window opens on the list of conversations; what is typed there went nowhere once."""
    async with opened() as window:
        await window.pilot.press("f2", "h", "i", "enter")
        await window.until(lambda: bool(window.asked(ask.Post)))
        (post,) = window.asked(ask.Post)
        assert isinstance(post, ask.Post) and post.pending.text == "hi"


async def test_typing_before_anything_is_open_opens_what_the_cursor_is_on(signed_in: OpenWindow) -> None:
    """As the window comes up: the first letter too. What was typed then went nowhere once."""
    async with signed_in(size=(100, 20)) as window:
        assert window.chat.state.current is None
        await window.pilot.press("안", "h", "i", "enter")
        await window.until(lambda: bool(window.asked(ask.Post)))
        (post,) = window.asked(ask.Post)
        assert isinstance(post, ask.Post) and post.pending.text == "안hi"


async def test_a_name_is_completed_and_the_cursor_stands_behind_it(opened: OpenWindow) -> None:
    async with opened() as window:
        await window.pilot.press("안", "space", "@", "b")
        await window.shows("Tab: [bob]")
        await window.pilot.press("tab", "!", "enter")
        await window.until(lambda: bool(window.asked(ask.Post)))
        (post,) = window.asked(ask.Post)
        assert isinstance(post, ask.Post)
        assert (post.pending.text, post.pending.mentions) == ("안 @bob !", ("b",))


async def test_a_refused_message_is_sent_again_by_enter(opened: OpenWindow) -> None:
    async with opened() as window:
        await window.pilot.press("x", "enter")
        await window.until(lambda: len(window.asked(ask.Post)) == 1)
        (first,) = window.asked(ask.Post)
        assert isinstance(first, ask.Post)
        await window.tell(act.PendingSettled("c", first.pending.client_message_id, trouble="slow mode"))
        await window.shows("NOT SENT: slow mode (Enter: again, d: drop)")
        await window.pilot.press("ctrl+p", "enter")
        await window.until(lambda: len(window.asked(ask.Post)) == 2)
        second = window.asked(ask.Post)[1]
        assert isinstance(second, ask.Post) and second.pending.text == "x"
        assert second.pending.client_message_id != first.pending.client_message_id


async def test_a_huge_paste_and_a_huge_message_do_not_freeze_the_window(
    opened: OpenWindow, messages: Messages
) -> None:
    """100,000 letters each way, and keys between them. Planted: a look that measured cell by cell."""
    huge = "긴 글 " * 25_000
    async with opened(*messages(1, 1, huge)) as window:
        await window.shows("characters: Enter shows all")
        composer = window.app.query_one(Composer)
        composer.insert(huge)
        begun = time.process_time()
        for _ in range(3):
            await window.pilot.press("x")
            await window.tell(act.NewsCame(window.group, messages(2, 2)))
        assert time.process_time() - begun < 5
        await window.pilot.press("enter")
        await window.shows("A message has at most 100,000 characters")
        assert window.asked(ask.Post) == []
