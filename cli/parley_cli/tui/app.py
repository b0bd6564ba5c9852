"""The terminal client: holds the model's state, gives it what happens, shows what it says."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from datetime import date
from typing import ClassVar

from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Static

import parley
from parley_cli.credentials import LogIn
from parley_cli.global_options import GlobalOptions
from parley_cli.tui.composer import Composer
from parley_cli.tui.deeds import Deeds
from parley_cli.tui.dialogs import Show
from parley_cli.tui.help_text import HELP
from parley_cli.tui.message_deeds import MessageDeeds
from parley_cli.tui.message_list import MessageList
from parley_cli.tui.model import actions as act
from parley_cli.tui.model import panels
from parley_cli.tui.model.commands import LoadMembers
from parley_cli.tui.model.inbox import neighbour
from parley_cli.tui.model.layout import View
from parley_cli.tui.model.member import may_manage
from parley_cli.tui.model.reduce import reduce
from parley_cli.tui.model.state import NEW_MESSAGE, State
from parley_cli.tui.port import OpenSession
from parley_cli.tui.row_view import RowView
from parley_cli.tui.session import now_ms
from parley_cli.tui.side_lists import show_inbox, show_members
from parley_cli.tui.style import plain

_PAINT_SECONDS = 0.03
"""However much happens, the screen is drawn at most so often."""

_NARROW_CELLS = 76

# The terminal is left as it was found, also when it is closed from outside.
_LEAVE_SIGNALS = (signal.SIGTERM, signal.SIGHUP)

# With priority, because the text area uses some of these keys itself.
_MAIN_KEYS = {
    "f1": "help",
    "f2": "conversations",
    "f3": "members",
    "f4": "pins",
    "f5": "new",
    "f6": "invite",
    "f7": "accounts",
    "f8": "group",
    "ctrl+up": "neighbour(-1)",
    "ctrl+down": "neighbour(1)",
    "alt+n": "next_unread",
}
_MAIN_ACTIONS = frozenset(action.partition("(")[0] for action in _MAIN_KEYS.values())


class ChatApp(Deeds, MessageDeeds, App[None]):
    """`parley chat`. `open_session` makes the session of a log-in; `options` say which one comes first."""

    CSS_PATH = "chat.tcss"
    ENABLE_COMMAND_PALETTE = False
    TITLE = "Parley"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q,ctrl+c", "leave", show=False, priority=True),
        *(Binding(key, action, show=False, priority=True) for key, action in _MAIN_KEYS.items()),
        Binding("escape", "step_back", show=False),
    ]

    def __init__(self, options: GlobalOptions, log_in: LogIn, open_session: OpenSession) -> None:
        super().__init__()
        self.options = options
        self.log_in = log_in
        self.state = State(server=options.server)
        self._open_session = open_session
        self._painting = False
        self._shown_current: tuple[str, int] | None = None
        self._shown_composing = NEW_MESSAGE
        self._shown_draft = ""
        self._inbox_open = False
        self._session_task: asyncio.Task[None] | None = None
        self.session = open_session(options, log_in.username, self.dispatch)

    # --- life

    def compose(self) -> ComposeResult:
        """The window's parts."""
        yield Static(id="header")
        with Horizontal(id="panes"):
            yield RowView(id="inbox")
            with Vertical(id="conversation"):
                yield Static(id="title")
                yield MessageList(id="messages")
                yield Static(id="mode")
                yield Static(id="names")
                yield Composer(id="composer", leave=self.action_select_newest)
            yield RowView(id="members")
        yield Static(id="status")

    def on_mount(self) -> None:
        """Begin."""
        if not self.is_headless:
            for number in _LEAVE_SIGNALS:
                asyncio.get_running_loop().add_signal_handler(number, self.call_later, self.action_leave)
        self._focus(self.query_one("#inbox"))
        self.begin_session()
        self.paint()

    async def on_unmount(self) -> None:
        """However the window closes, the session ends with it."""
        if not self.is_headless:
            for number in _LEAVE_SIGNALS:
                asyncio.get_running_loop().remove_signal_handler(number)
        await self.end_session()

    def begin_session(self) -> None:
        """Run the session until another takes its place or the window closes."""
        self._session_task = asyncio.create_task(self.session.run(), name="chat session")
        self._session_task.add_done_callback(self._session_ended)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a question is open, nothing else can be asked for but to leave."""
        return action == "leave" or len(self.screen_stack) < 2 or action not in _MAIN_ACTIONS

    def _session_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._handle_exception(error if isinstance(error, Exception) else RuntimeError(str(error)))

    async def end_session(self) -> None:
        """End it in good order: what waits stays in the outbox."""
        running, self._session_task = self._session_task, None
        if running is not None:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await running

    async def switch(self, options: GlobalOptions, log_in: LogIn) -> None:
        """Be another log-in."""
        await self.end_session()
        self.options, self.log_in = options, log_in
        self.state = State(server=options.server, focused=self.state.focused)
        self.session = self._open_session(options, log_in.username, self.dispatch)
        self._focus(self.query_one("#inbox"))
        self.begin_session()
        self.schedule_paint()

    async def action_leave(self) -> None:
        """Leave in good order."""
        await self.end_session()
        self.exit()

    # --- the model

    def dispatch(self, action: act.Action) -> None:
        """Let the model decide about what happened, ask for what it wants, and show it soon."""
        before = self.state
        self.state, commands = reduce(before, action)
        for command in commands:
            self.session.submit(command)
        if self.state is not before:
            self.schedule_paint()

    def schedule_paint(self) -> None:
        """Paint soon, once for all that happens until then."""
        if not self._painting and self.is_running:
            self._painting = True
            # Not the window's own timer: that one skips what it comes to too late, and a timer for one time
            # is then never heard of.
            asyncio.get_running_loop().call_later(_PAINT_SECONDS, self.call_next, self.paint)

    def paint(self) -> None:
        """Show the state."""
        self._painting = False
        if not self.is_running or not self.screen_stack:
            return
        base = self.screen_stack[0]
        state = self.state
        base.query_one("#header", Static).update(plain(panels.header_text(state)))
        base.query_one("#title", Static).update(plain(panels.title_text(state)))
        base.query_one("#status", Static).update(plain(panels.status_text(state)))
        mode = panels.mode_text(state, max(self.size.width - 4, 20))
        base.query_one("#mode", Static).update(plain(mode))
        base.query_one("#mode", Static).display = bool(mode)
        narrow = self.size.width < _NARROW_CELLS
        show_inbox(base.query_one("#inbox", RowView), state, narrow=narrow, wanted=self._inbox_open)
        show_members(base.query_one("#members", RowView), state)
        messages = base.query_one(MessageList)
        view = View(messages.text_width, state.names, state.me_id, date.today(), None)
        messages.show_conversation(state.conversation, view)
        self._paint_composer()

    def _paint_composer(self) -> None:
        composer, state = self.screen_stack[0].query_one(Composer), self.state
        composer.people = tuple(each.name for each in state.current_members if each.user_id != state.me_id)
        composer.may_call_all = state.me is not None and may_manage(state.me.role)
        composer.disabled = state.current is None
        changed = (state.current, state.composing) != (self._shown_current, self._shown_composing)
        if changed or state.draft != self._shown_draft:
            self._shown_current, self._shown_composing = state.current, state.composing
            self._shown_draft = state.draft
            composer.put(state.draft)
        if state.current is None and self.screen_stack[0].focused in (None, composer):
            self._focus(self.query_one("#inbox"))
        elif self.screen_stack[0].focused is None:
            self._focus(composer)

    # --- what the window tells

    def on_resize(self, event: events.Resize) -> None:
        """The terminal has another size."""
        self.schedule_paint()

    def on_key(self, event: events.Key) -> None:
        """Typing in a list is writing a message, too."""
        view = self.screen_stack[0].focused
        # The composer keeps its keys: one that comes here was on its way to a list that has lost the focus.
        if not isinstance(view, RowView | Composer) or len(self.screen_stack) > 1:
            return
        if not event.is_printable or not event.character:
            return
        inbox = self.screen_stack[0].query_one("#inbox", RowView)
        if self.state.current is None and inbox.cursor is not None:
            self.open_channel(inbox.cursor)
        if self.state.current is not None:
            event.stop()
            self.focus_composer()
            composer = self.screen_stack[0].query_one(Composer)
            # Shown now and not when the window is painted: by then more was typed.
            self._shown_current, self._shown_composing = self.state.current, self.state.composing
            composer.put(self.state.draft)
            composer.insert(event.character)
            self._shown_draft = composer.text
            self.state, _ = reduce(self.state, act.Keep(composer.text))

    def on_app_focus(self, event: events.AppFocus) -> None:
        """Somebody looks at the terminal again."""
        self.dispatch(act.Looking(self.state.at_end, True))

    def on_app_blur(self, event: events.AppBlur) -> None:
        """Nobody looks: what comes now is not read yet."""
        self.dispatch(act.Looking(self.state.at_end, False))

    @on(MessageList.Seen)
    def seen(self, event: MessageList.Seen) -> None:
        """The window shows other messages."""
        if event.at_end != self.state.at_end:
            self.dispatch(act.Looking(event.at_end, self.state.focused))
        if event.near_top:
            self.dispatch(act.TopNear())

    @on(MessageList.Clicked)
    def message_clicked(self, event: MessageList.Clicked) -> None:
        """Select it; clicked again, show it whole."""
        if self.state.conversation is not None and self.state.conversation.selected == event.key:
            self.action_unfold()
        else:
            self.dispatch(act.Select(event.key))

    @on(RowView.Chosen, "#inbox")
    def channel_chosen(self, event: RowView.Chosen) -> None:
        """Open it, ready to write."""
        self.open_channel(event.key)

    @on(RowView.Chosen, "#members")
    def member_chosen(self, event: RowView.Chosen) -> None:
        """Offer what can be done about the member."""
        self.about_member(event.key)

    def open_channel(self, channel_id: str) -> None:
        """Show a conversation, ready to write."""
        self._inbox_open = False
        self.dispatch(act.Open(channel_id))
        self.focus_composer()

    def focus_composer(self) -> None:
        """What is typed next is a message."""
        composer = self.screen_stack[0].query_one(Composer)
        composer.disabled = self.state.current is None
        self._focus(composer)

    def _focus(self, widget: Widget) -> None:
        # At once: the key that comes next belongs there, also before the window is painted again.
        self.screen_stack[0].set_focus(widget)

    @on(Composer.Changed)
    def draft_changed(self, event: Composer.Changed) -> None:
        """Remember what is written, for when its conversation is shown again."""
        self._shown_draft = event.text_area.text
        self.state, _ = reduce(self.state, act.Keep(event.text_area.text))

    @on(Composer.Submitted)
    def submitted(self, event: Composer.Submitted) -> None:
        """Send it."""
        self.dispatch(act.Keep(event.text))
        self.dispatch(act.Submit(event.text, parley.new_id(), now_ms()))
        if not self.state.told_bad:
            self.query_one(MessageList).follow_end()

    @on(Composer.EditNewest)
    def edit_newest(self) -> None:
        """Edit the user's newest message."""
        self.dispatch(act.BeginEdit(newest=True))

    @on(Composer.Completing)
    def completing(self, event: Composer.Completing) -> None:
        """Show the names that may be meant."""
        names = self.query_one("#names", Static)
        names.display = bool(event.names)
        names.update(plain(panels.completion_text(event.names, event.chosen, self.size.width)))

    # --- what keys ask for

    async def action_help(self) -> None:
        """Show the keys."""
        await self.push_screen(Show("Help", HELP))

    def action_conversations(self) -> None:
        """Go to the conversations; in a narrow window, show or hide them."""
        self._inbox_open = not self._inbox_open
        inbox = self.query_one("#inbox", RowView)
        if inbox.has_focus:
            self.focus_composer()
        else:
            inbox.display = True
            if inbox.cursor is None or self.state.channel_id is not None:
                inbox.cursor = self.state.channel_id or inbox.cursor
            self._focus(inbox)
        self.schedule_paint()

    def action_members(self) -> None:
        """Show the members, and go to them; again: hide them."""
        members = self.query_one("#members", RowView)
        members.display = not members.display
        if members.display:
            self._focus(members)
            if self.state.channel_id is not None:
                # How far everybody has read is told to nobody: it is asked when somebody wants to see it.
                self.session.submit(LoadMembers(self.state.channel_id))
        elif self.state.current is not None:
            self.focus_composer()
        self.schedule_paint()

    def action_step_back(self) -> None:
        """One step back: offered names, selection, edit, thread."""
        composer = self.query_one(Composer)
        state = self.state
        if composer.close_offer():
            return
        if state.composing != NEW_MESSAGE:
            self.dispatch(act.StopComposing())
        elif state.conversation is not None and state.conversation.selected is not None:
            self.dispatch(act.Select(None))
        elif state.current is not None and state.current[1]:
            self.dispatch(act.CloseThread())
        elif state.told:
            self.dispatch(act.Told(""))
        if state.current is not None:
            self.focus_composer()

    def action_neighbour(self, by: int) -> None:
        """Open the conversation above or below."""
        channel_id = neighbour(self.state.inbox, self.state.channel_id, by)
        if channel_id is not None:
            self.open_channel(channel_id)

    def action_next_unread(self) -> None:
        """Open the first conversation with something unread."""
        unread = [line.channel_id for line in self.state.inbox if line.shown_unread]
        if unread:
            self.open_channel(unread[0])

    def action_scroll_messages(self, by: int) -> None:
        """Scroll the messages from the composer."""
        self.query_one(MessageList).action_page(by)

    def action_select_newest(self) -> None:
        """Go to the messages and select one."""
        self._focus(self.query_one(MessageList))
        if self.state.selected is None:
            self.dispatch(act.Step(0))
