"""What keys do with the selected message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import parley
from parley_cli.tui.dialogs import Confirm
from parley_cli.tui.model import actions as act
from parley_cli.tui.model.message import Pending
from parley_cli.tui.session import now_ms

if TYPE_CHECKING:
    from textual.app import App

    from parley_cli.tui.model.state import State

    _Base = App[None]
else:
    _Base = object


class MessageDeeds(_Base):
    """The keys of the message list, as actions of the window."""

    state: State

    def dispatch(self, action: act.Action) -> None:
        """Let the model decide."""
        raise NotImplementedError

    def focus_composer(self) -> None:
        """What is typed next is a message."""
        raise NotImplementedError

    def action_step(self, by: int) -> None:
        """Select the message above or below."""
        self.dispatch(act.Step(by))

    def action_unfold(self) -> None:
        """Show a long message whole, fold it again; a refused one is sent again."""
        chosen = self.state.selected
        if isinstance(chosen, Pending) and chosen.trouble:
            self.dispatch(act.Retry(chosen.client_message_id, parley.new_id(), now_ms()))
        elif chosen is not None:
            self.dispatch(act.Unfold(chosen.key))

    def action_edit(self) -> None:
        """Edit the selected message."""
        self.dispatch(act.BeginEdit())
        if self.state.composing.edit_seq:
            self.focus_composer()

    def action_reply(self) -> None:
        """Answer the selected message."""
        self.dispatch(act.BeginReply())
        if self.state.composing.reply_to_seq:
            self.focus_composer()

    def action_thread(self) -> None:
        """Show the thread of the selected message."""
        self.dispatch(act.OpenThread())
        self.focus_composer()

    def action_pin(self) -> None:
        """Pin the selected message, or take the pin away."""
        self.dispatch(act.Pin())

    def action_react_again(self) -> None:
        """Put the emoji used last on the selected message, or take it off."""
        self.dispatch(act.React())

    async def action_delete(self) -> None:
        """Delete the selected message, once the user has confirmed it."""

        def answered(sure: bool | None) -> None:
            if sure:
                self.dispatch(act.Delete())

        chosen = self.state.selected
        if isinstance(chosen, Pending):
            self.dispatch(act.Delete())
        elif chosen is not None:
            await self.push_screen(Confirm("Delete this message for everybody?"), answered)
