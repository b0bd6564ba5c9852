"""The window's dialogs: what they ask for, and what is told when it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Input

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.tui.model import commands as ask

if TYPE_CHECKING:
    from tests.unit.tui.conftest import Messages, OpenWindow


async def test_dialogs_ask_and_their_failures_are_told(opened: OpenWindow, messages: Messages) -> None:
    async with opened(*messages(1, 1)) as window:
        await window.pilot.press("f5", "down", "enter")
        await window.shows("Make a group", "Title")
        await window.pilot.press("여", "행", "enter", *"bob,carol", "enter")
        await window.until(lambda: window.chat.state.channel_id == "g")
        assert ("create", "여행", ["bob", "carol"]) in window.session.desk.asked
        window.chat.open_channel("c")
        await window.pilot.press("f6", "enter", "enter")
        await window.shows("the-code", "It is shown only now.")
        await window.pilot.press("escape")
        window.session.desk.failure = CommandFailure(ExitCode.REFUSED, "the role admin is needed")
        await window.pilot.press("f8")
        await window.shows("add members")
        await window.pilot.press("enter", *"dave", "enter")
        await window.shows("! the role admin is needed")


async def test_a_deletion_is_confirmed_first(opened: OpenWindow, messages: Messages) -> None:
    async with opened(*messages(1, 1)) as window:
        await window.pilot.press("ctrl+p", "d")
        await window.shows("Delete this message for everybody?")
        await window.pilot.press("n")
        await window.pilot.press("d")
        await window.shows("Delete this message for everybody?")
        assert window.asked(ask.Erase) == []
        await window.pilot.press("y")
        await window.until(lambda: window.asked(ask.Erase) == [ask.Erase("c", 1)])


async def test_a_reaction_is_chosen_typed_or_repeated(opened: OpenWindow, messages: Messages) -> None:
    async with opened(*messages(1, 1)) as window:
        await window.pilot.press("ctrl+p", "+")
        await window.shows("React: choose")
        window.app.screen.query_one(Input).value = "🦊"
        await window.pilot.press("enter")
        await window.until(lambda: window.asked(ask.PutReaction) == [ask.PutReaction("c", 1, "🦊", True)])
        await window.pilot.press("a")
        await window.until(lambda: len(window.asked(ask.PutReaction)) == 2)
