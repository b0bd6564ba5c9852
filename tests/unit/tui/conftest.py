"""The terminal client's window over a session that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from parley_cli.credentials import LogIn
from parley_cli.global_options import GlobalOptions
from parley_cli.tui.app import ChatApp
from parley_cli.tui.model import actions as act
from parley_cli.tui.model import commands as ask
from parley_cli.tui.model.connection import Connection
from parley_cli.tui.model.inbox import InboxLine
from parley_cli.tui.model.member import Member
from parley_cli.tui.model.message import Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.pilot import Pilot

    from parley_cli.failure import CommandFailure
    from parley_cli.tui.model.conversation import ConversationKey
    from parley_cli.tui.port import Emit

NOW_MS = 1_800_000_000_000


class PlayedDesk:
    """Notes what is asked for in `asked`, and answers; with a `failure` it raises that instead."""

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
    """The window under test. alice sees it; `group` is the conversation that she has open."""

    group: ConversationKey = ("c", 0)

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


OpenWindow = Callable[..., AbstractAsyncContextManager[Window]]
Messages = Callable[..., tuple[Message, ...]]


@asynccontextmanager
async def _signed_in(*lines: InboxLine, size: tuple[int, int] = (100, 24)) -> AsyncIterator[Window]:
    sessions: list[PlayedSession] = []

    def open_session(options: GlobalOptions, username: str, emit: Emit) -> PlayedSession:
        sessions.append(PlayedSession(options, username, emit))
        return sessions[-1]

    app = ChatApp(GlobalOptions(), LogIn("s", "alice", "{}"), open_session)
    async with app.run_test(size=size) as pilot:
        window = Window(pilot, sessions[0])
        await window.tell(
            act.SignedIn("a", "alice", "s:1"),
            act.ConnectionMoved(Connection("live")),
            act.NamesLearned({"b": "bob"}),
            act.InboxCame(lines),
        )
        yield window
    assert sessions[0].ended or app.return_code is not None


def _group_line(head_seq: int) -> InboxLine:
    return InboxLine("c", "#trip", False, head_seq=head_seq, time_ms=NOW_MS)


@pytest.fixture
def signed_in() -> OpenWindow:
    """`async with signed_in(size=(100, 24)) as window`: the group is in the list, and nothing is open."""

    def open_window(size: tuple[int, int] = (100, 24)) -> AbstractAsyncContextManager[Window]:
        return _signed_in(_group_line(1), size=size)

    return open_window


@pytest.fixture
def opened() -> OpenWindow:
    """`async with opened(*messages, size=(100, 24), complete=True) as window`: the group is open, and these
    messages stand in it. Unless `complete`, there are older ones.
    """

    @asynccontextmanager
    async def open_group(
        *items: Message, size: tuple[int, int] = (100, 24), complete: bool = True
    ) -> AsyncIterator[Window]:
        line = _group_line(items[-1].seq if items else 1)
        async with _signed_in(line, InboxLine("d", "@bob", True), size=size) as window:
            await window.pilot.press("enter")
            await window.until(lambda: window.chat.state.current == window.group)
            await window.tell(
                act.MembersCame("c", (Member("a", "alice", "owner"), Member("b", "bob", "member"))),
                act.PageCame(window.group, items, complete),
            )
            yield window

    return open_group


@pytest.fixture
def messages() -> Messages:
    """`messages(first_seq, last_seq, text="story {}")`: of bob's, with the seq where the braces are."""

    def make(first: int, last: int, text: str = "story {}") -> tuple[Message, ...]:
        return tuple(Message(seq, "b", text.format(seq), NOW_MS + seq) for seq in range(first, last + 1))

    return make
