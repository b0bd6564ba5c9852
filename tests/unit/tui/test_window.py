"""The window as a whole: hostile texts, no colour, the mouse, a small size, its end."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from textual import _time

from parley_cli.tui.message_list import MessageList
from parley_cli.tui.model import actions as act
from parley_cli.tui.model import commands as ask
from parley_cli.tui.model.connection import Connection
from parley_cli.tui.model.inbox import InboxLine
from parley_cli.tui.model.member import Member
from parley_cli.tui.model.message import Reaction

if TYPE_CHECKING:
    from tests.unit.tui.conftest import Messages, OpenWindow


async def test_texts_names_and_titles_of_strangers_are_shown_not_obeyed(
    opened: OpenWindow, messages: Messages
) -> None:
    """Escape sequences and Rich's markup, everywhere. Planted: a plain string as a label."""
    evil = "\x1b]0;x\x07[bold red]evil[/]"
    shown = "␛]0;x␇[bold red]evil[/]"
    items = (
        replace(messages(1, 1)[0], text=evil, author_id="x", reactions=(Reaction("[b]", 1, False),)),
        replace(messages(2, 2)[0], reply_to_seq=1),
    )
    async with opened(*items, size=(160, 24)) as window:
        await window.tell(
            act.NamesLearned({"x": evil}),
            act.LineCame(InboxLine("c", f"#{evil}", False)),
            act.MembersCame("c", (Member("x", evil, "member"),)),
            act.Told(evil, bad=True),
        )
        await window.shows(f"! {shown}")
        await window.pilot.press("f3", "escape", "ctrl+p", "up", "r")
        screen = await window.shows(f"ANSWERING {shown} (Esc: stop): {shown}", f"#{shown} · 1 members")
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", screen)
        lines = screen.splitlines()
        assert sum(shown in line for line in lines) >= 4, screen
        assert any("#␛]0;x␇[bold red]" in line for line in lines)
        await window.pilot.press("escape", "escape")
        await window.pilot.press("f5", "enter", "b", "o")
        await window.shows("@bob", "@bo[red]b")


async def test_without_colour_everything_is_still_said(
    opened: OpenWindow, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: an unread channel told by boldness alone was not seen here."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(*messages(1, 1)) as window:
        await window.tell(
            act.Looking(True, False),  # type: ignore[arg-type]
            act.HeadMoved("c", 2, 1),
            act.ConnectionMoved(Connection("waiting", retry_in_seconds=3)),
            act.Told("no", bad=True),
        )
        await window.pilot.press("x", "enter")
        await window.until(lambda: bool(window.asked(ask.Post)))
        (post,) = window.asked(ask.Post)
        assert isinstance(post, ask.Post)
        await window.tell(act.PendingSettled("c", post.pending.client_message_id, trouble="refused"))
        await window.shows("» #trip", "(1)", "NO CONNECTION, next try in 3 s", "NOT SENT: refused")
        for strip in window.app.screen._compositor.render_strips():
            for segment in strip:
                colour = segment.style.color.triplet if segment.style and segment.style.color else None
                assert colour is None or colour.red == colour.green == colour.blue


async def test_the_mouse_selects_scrolls_and_opens(opened: OpenWindow, messages: Messages) -> None:
    async with opened(*messages(1, 60)) as window:
        await window.pilot.click(MessageList, offset=(6, 3))
        await window.until(lambda: window.chat.state.selected is not None)
        assert "▶" in window.screen() or "┃" in window.screen()
        await window.pilot.click("#inbox", offset=(6, 2))
        await window.until(lambda: window.chat.state.channel_id == "d")


async def test_a_narrow_window_shows_one_thing_at_a_time(opened: OpenWindow, messages: Messages) -> None:
    async with opened(*messages(1, 3), size=(50, 16)) as window:
        screen = await window.shows("story 3")
        assert "@bob" not in screen
        await window.pilot.press("f2")
        await window.shows("@bob")
        await window.pilot.press("down", "enter")
        await window.until(lambda: window.chat.state.channel_id == "d")
        await window.until(lambda: "#trip" not in window.screen())


@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+c"])
async def test_both_keys_leave_and_the_session_ends_first(opened: OpenWindow, key: str) -> None:
    """Planted: an exit without waiting left the session's task behind."""
    async with opened() as window:
        await window.pilot.press("h", "a", "l", "f", key)
        assert window.session.ended
        assert window.app.return_code == 0


async def test_a_window_is_painted_also_on_a_machine_that_stalls(
    opened: OpenWindow, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer of the widget library for one time looks at its clock twice before it sleeps; where the machine
    stalled in between, it counts itself as missed. Planted: painting by such a timer; nothing was painted.
    """
    async with opened(*messages(1, 1)) as window:
        really_now, stalled_seconds = _time.get_time, 0.0

        def stalling() -> float:
            nonlocal stalled_seconds
            caller = sys._getframe(1)
            if caller.f_code.co_name == "_run" and caller.f_locals.get("_repeat") == 0:
                stalled_seconds += 1.0
            return really_now() + stalled_seconds

        monkeypatch.setattr(_time, "get_time", stalling)
        await window.tell(act.Told("painted", bad=True))
        await window.shows("! painted")
