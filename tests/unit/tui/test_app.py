"""The window over a session that the test plays: keys, mouse, sizes, hostile texts, no colour."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from textual._xterm_parser import XTermParser
from textual.events import Key
from textual.widgets import Input

from parley_cli.credentials import LogIn
from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.global_options import GlobalOptions
from parley_cli.tui.app import ChatApp
from parley_cli.tui.composer import NEW_LINE_KEYS, Composer
from parley_cli.tui.message_list import MessageList
from parley_cli.tui.model import actions as act
from parley_cli.tui.model import commands as ask
from parley_cli.tui.model.connection import Connection
from parley_cli.tui.model.inbox import InboxLine
from parley_cli.tui.model.member import Member
from parley_cli.tui.model.message import Message, Reaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from textual.pilot import Pilot

    from parley_cli.tui.model.conversation import ConversationKey
    from parley_cli.tui.port import Emit

NOW_MS = 1_800_000_000_000
GROUP: ConversationKey = ("c", 0)


class PlayedDesk:
    """Answers as the test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.failure: CommandFailure | None = None

    def _note(self, *call: Any) -> None:
        self.asked.append(call)
        if self.failure is not None:
            raise self.failure

    async def search_users(self, beginning: str) -> list[str]:
        self._note("search", beginning)
        return [name for name in ("bob", "bo[red]b", "carol") if name.startswith(beginning)]

    async def direct(self, username: str) -> str:
        self._note("direct", username)
        return "d"

    async def create_group(self, title: str, usernames: list[str], client_channel_id: str) -> str:
        self._note("create", title, usernames)
        return "g"

    async def join(self, code: str) -> str:
        self._note("join", code)
        return "j"

    async def create_invite(self, channel_id: str, *, uses: int, days: int) -> str:
        self._note("invite", channel_id, uses, days)
        return "the-code"

    async def pinned(self, channel_id: str) -> list[tuple[str, Message]]:
        self._note("pinned", channel_id)
        return []

    async def add_members(self, channel_id: str, usernames: list[str]) -> None:
        self._note("add", channel_id, usernames)

    async def about_member(self, channel_id: str, user_id: str, deed: str) -> None:
        self._note("about", channel_id, user_id, deed)

    async def leave(self, channel_id: str) -> None:
        self._note("leave", channel_id)


class PlayedSession:
    """A session without a server: it notes what it is asked for, and tells what the test tells."""

    def __init__(self, options: GlobalOptions, username: str, emit: Emit) -> None:
        self.emit = emit
        self.desk = PlayedDesk()
        self.commands: list[ask.Command] = []
        self.ran = asyncio.Event()
        self.ended = False

    async def run(self) -> None:
        self.ran.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True

    def submit(self, command: ask.Command) -> None:
        self.commands.append(command)


class Window:
    """The window under test."""

    def __init__(self, pilot: Pilot[None], session: PlayedSession) -> None:
        self.pilot = pilot
        self.session = session
        self.app = pilot.app
        assert isinstance(self.app, ChatApp)
        self.chat: ChatApp = self.app

    def screen(self) -> str:
        """What is on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in strips)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until it holds."""
        for _ in range(300):
            await self.pilot.pause()
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"it never held. The screen:\n{self.screen()}")

    async def shows(self, *parts: str) -> str:
        """Wait until these are on the screen."""
        await self.until(lambda: all(part in self.screen() for part in parts))
        return self.screen()

    async def tell(self, *actions: act.FromSession) -> None:
        """The session tells this."""
        for action in actions:
            self.session.emit(action)
        await self.until(lambda: not self.chat._painting)

    def asked(self, kind: type[ask.Command]) -> list[ask.Command]:
        """The commands of this kind so far."""
        return [command for command in self.session.commands if isinstance(command, kind)]


def messages(first: int, last: int, text: str = "story {}") -> tuple[Message, ...]:
    """Messages of bob's."""
    return tuple(Message(seq, "b", text.format(seq), NOW_MS + seq) for seq in range(first, last + 1))


@asynccontextmanager
async def opened(
    *items: Message, size: tuple[int, int] = (100, 24), complete: bool = True
) -> AsyncIterator[Window]:
    """A window in which alice has the group open, and these messages stand in it."""
    sessions: list[PlayedSession] = []

    def open_session(options: GlobalOptions, username: str, emit: Emit) -> PlayedSession:
        sessions.append(PlayedSession(options, username, emit))
        return sessions[-1]

    app = ChatApp(GlobalOptions(), LogIn("s", "alice", "{}"), open_session)
    async with app.run_test(size=size) as pilot:
        window = Window(pilot, sessions[0])
        line = InboxLine("c", "#trip", False, head_seq=items[-1].seq if items else 1, time_ms=NOW_MS)
        await window.tell(
            act.SignedIn("a", "alice", "s:1"),
            act.ConnectionMoved(Connection("live")),
            act.NamesLearned({"b": "bob"}),
            act.InboxCame((line, InboxLine("d", "@bob", True))),
        )
        await window.pilot.press("enter")
        await window.until(lambda: app.state.current == GROUP)
        await window.tell(
            act.MembersCame("c", (Member("a", "alice", "owner"), Member("b", "bob", "member"))),
            act.PageCame(GROUP, items, complete),
        )
        yield window
    assert sessions[0].ended or app.return_code is not None


async def test_enter_sends_and_other_enters_make_lines() -> None:
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


async def test_typing_in_a_list_is_writing() -> None:
    """The window opens on the list of conversations; what is typed there went nowhere once."""
    async with opened() as window:
        await window.pilot.press("f2", "h", "i", "enter")
        await window.until(lambda: bool(window.asked(ask.Post)))
        (post,) = window.asked(ask.Post)
        assert isinstance(post, ask.Post) and post.pending.text == "hi"


async def test_typing_before_anything_is_open_opens_what_the_cursor_is_on() -> None:
    """As the window comes up: the first letter too. What was typed then went nowhere once."""
    sessions: list[PlayedSession] = []

    def open_session(options: GlobalOptions, username: str, emit: Emit) -> PlayedSession:
        sessions.append(PlayedSession(options, username, emit))
        return sessions[-1]

    app = ChatApp(GlobalOptions(), LogIn("s", "alice", "{}"), open_session)
    async with app.run_test(size=(100, 20)) as pilot:
        window = Window(pilot, sessions[0])
        line = InboxLine("c", "#trip", False, head_seq=1, time_ms=NOW_MS)
        await window.tell(
            act.SignedIn("a", "alice", "s:1"),
            act.ConnectionMoved(Connection("live")),
            act.InboxCame((line,)),
        )
        assert app.state.current is None
        await pilot.press("안", "h", "i", "enter")
        await window.until(lambda: bool(window.asked(ask.Post)))
        (post,) = window.asked(ask.Post)
        assert isinstance(post, ask.Post) and post.pending.text == "안hi"


async def test_a_name_is_completed_and_the_cursor_stands_behind_it() -> None:
    async with opened() as window:
        await window.pilot.press("안", "space", "@", "b")
        await window.shows("Tab: [bob]")
        await window.pilot.press("tab", "!", "enter")
        await window.until(lambda: bool(window.asked(ask.Post)))
        (post,) = window.asked(ask.Post)
        assert isinstance(post, ask.Post)
        assert (post.pending.text, post.pending.mentions) == ("안 @bob !", ("b",))


async def test_texts_names_and_titles_of_strangers_are_shown_not_obeyed() -> None:
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


async def test_without_colour_everything_is_still_said(monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_a_refused_message_is_sent_again_by_enter() -> None:
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


def _stories(screen: str) -> list[int]:
    return [int(number) for number in re.findall(r"  story (\d+)", screen)]


async def test_a_reader_in_the_middle_stays_while_everything_else_moves() -> None:
    """Older pages, new messages, an edit above, another size. Planted: a place counted in lines."""
    async with opened(*messages(101, 160), complete=False) as window:
        await window.pilot.press("pageup", "pageup")
        await window.until(lambda: 160 not in _stories(window.screen()))
        before = _stories(window.screen())
        await window.tell(act.NewsCame(GROUP, messages(161, 170)))
        assert _stories(window.screen()) == before
        await window.tell(act.PageCame(GROUP, messages(41, 100), False))
        assert _stories(window.screen()) == before
        longer = replace(messages(101, 101)[0], text="one\ntwo\nthree", edited=True)
        await window.tell(act.NewsCame(GROUP, (longer,)))
        assert _stories(window.screen()) == before
        await window.pilot.resize_terminal(70, 18)
        await window.until(lambda: 0 < len(_stories(window.screen())) < len(before))
        assert _stories(window.screen())[0] == before[0]


async def test_scrolling_to_the_top_asks_for_one_page_at_a_time() -> None:
    """Planted: without the guard every step of the wheel asked again."""
    async with opened(*messages(101, 160), complete=False) as window:
        await window.pilot.press("shift+tab")
        for _ in range(8):
            await window.pilot.press("home")
        await window.until(lambda: len(window.asked(ask.LoadPage)) == 2)
        assert window.asked(ask.LoadPage)[1] == ask.LoadPage(GROUP, 101)
        await window.tell(act.PageCame(GROUP, messages(41, 100), False))
        await window.pilot.press("home")
        await window.until(lambda: len(window.asked(ask.LoadPage)) == 3)
        assert window.asked(ask.LoadPage)[2] == ask.LoadPage(GROUP, 41)


async def test_reading_is_told_only_while_somebody_looks_at_the_end() -> None:
    async with opened(*messages(1, 60)) as window:
        window.session.commands.clear()
        await window.pilot.press("pageup")
        await window.until(lambda: not window.chat.state.at_end)
        await window.tell(act.HeadMoved("c", 61, 1), act.NewsCame(GROUP, messages(61, 61)))
        assert window.asked(ask.MarkRead) == []
        await window.pilot.press("pagedown", "pagedown")
        await window.until(lambda: window.asked(ask.MarkRead) == [ask.MarkRead("c", 61)])


async def test_the_mouse_selects_scrolls_and_opens() -> None:
    async with opened(*messages(1, 60)) as window:
        await window.pilot.click(MessageList, offset=(6, 3))
        await window.until(lambda: window.chat.state.selected is not None)
        assert "▶" in window.screen() or "┃" in window.screen()
        await window.pilot.click("#inbox", offset=(6, 2))
        await window.until(lambda: window.chat.state.channel_id == "d")


async def test_a_huge_paste_and_a_huge_message_do_not_freeze_the_window() -> None:
    """100,000 letters each way, and keys between them. Planted: a look that measured cell by cell."""
    huge = "긴 글 " * 25_000
    async with opened(*messages(1, 1, huge)) as window:
        await window.shows("characters: Enter shows all")
        composer = window.app.query_one(Composer)
        composer.insert(huge)
        begun = time.process_time()
        for _ in range(3):
            await window.pilot.press("x")
            await window.tell(act.NewsCame(GROUP, messages(2, 2)))
        assert time.process_time() - begun < 5
        await window.pilot.press("enter")
        await window.shows("A message has at most 100,000 characters")
        assert window.asked(ask.Post) == []


async def test_dialogs_ask_and_their_failures_are_told() -> None:
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


async def test_a_deletion_is_confirmed_first() -> None:
    async with opened(*messages(1, 1)) as window:
        await window.pilot.press("ctrl+p", "d")
        await window.shows("Delete this message for everybody?")
        await window.pilot.press("n")
        await window.pilot.press("d")
        await window.shows("Delete this message for everybody?")
        assert window.asked(ask.Erase) == []
        await window.pilot.press("y")
        await window.until(lambda: window.asked(ask.Erase) == [ask.Erase("c", 1)])


async def test_a_reaction_is_chosen_typed_or_repeated() -> None:
    async with opened(*messages(1, 1)) as window:
        await window.pilot.press("ctrl+p", "+")
        await window.shows("React: choose")
        window.app.screen.query_one(Input).value = "🦊"
        await window.pilot.press("enter")
        await window.until(lambda: window.asked(ask.PutReaction) == [ask.PutReaction("c", 1, "🦊", True)])
        await window.pilot.press("a")
        await window.until(lambda: len(window.asked(ask.PutReaction)) == 2)


async def test_a_narrow_window_shows_one_thing_at_a_time() -> None:
    async with opened(*messages(1, 3), size=(50, 16)) as window:
        screen = await window.shows("story 3")
        assert "@bob" not in screen
        await window.pilot.press("f2")
        await window.shows("@bob")
        await window.pilot.press("down", "enter")
        await window.until(lambda: window.chat.state.channel_id == "d")
        await window.until(lambda: "#trip" not in window.screen())


@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+c"])
async def test_both_keys_leave_and_the_session_ends_first(key: str) -> None:
    """Planted: an exit without waiting left the session's task behind."""
    async with opened() as window:
        await window.pilot.press("h", "a", "l", "f", key)
        assert window.session.ended
        assert window.app.return_code == 0


async def test_a_storm_of_news_is_painted_a_few_times() -> None:
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
            window.session.emit(act.NewsCame(GROUP, messages(seq, seq)))
        await window.shows("story 1060")
        assert painted < 10
