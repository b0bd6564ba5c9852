"""Where messages are written: several lines, completion of names, Enter sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, cast

from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.binding import Binding, BindingType
from textual.keys import Keys
from textual.message import Message
from textual.widgets import TextArea

from parley_cli.tui.model.mentions import begun_at, candidates, completed
from parley_cli.tui.type_ahead import passed_on

LEAVE_KEYS = frozenset({"ctrl+p", "alt+up"})
"""Keys that lead from the composer to the messages."""

NEW_LINE_KEYS = frozenset({"ctrl+j", "newline", "alt+enter", "shift+enter", "alt+\r", "shift+\r"})
"""Keys that make a new line. The last two are what xterm's older protocol becomes."""

# What terminals without the newer keyboard protocols send for Alt-Enter. Textual reads it as plain Enter, and
# what was to become a second line would be sent.
cast("dict[str, object]", ANSI_SEQUENCES_KEYS).setdefault("\x1b\r", (Keys.ControlJ,))


class Composer(TextArea):
    """A text area that sends with Enter. `leave` moves the focus to the messages."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.step_back", show=False),
        Binding("pageup", "app.scroll_messages(-1)", show=False),
        Binding("pagedown", "app.scroll_messages(1)", show=False),
    ]

    class Submitted(Message):
        """The text is to be sent."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class EditNewest(Message):
        """Up in an empty composer: the user's newest message is to be edited."""

    class Completing(Message):
        """Names that the mention under the cursor may mean; none outside a mention."""

        def __init__(self, names: Sequence[str], chosen: int) -> None:
            super().__init__()
            self.names = names
            self.chosen = chosen

    def __init__(self, *, id: str, leave: Callable[[], None]) -> None:
        super().__init__(
            id=id, soft_wrap=True, show_line_numbers=False, compact=True, highlight_cursor_line=False
        )
        self._leave = leave
        self.people: tuple[str, ...] = ()
        self.may_call_all = False
        self._names: list[str] = []
        self._chosen = 0

    def on_key(self, event: events.Key) -> None:
        """Keys that mean something else than in a text area."""
        if passed_on(self, event):
            return
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.post_message(self.Submitted(self.text))
        elif event.key in NEW_LINE_KEYS:
            event.stop()
            event.prevent_default()
            self.insert("\n")
        elif self._names and event.key in ("tab", "down", "up"):
            event.stop()
            event.prevent_default()
            if event.key == "tab":
                self._complete()
            else:
                self._choose(1 if event.key == "down" else -1)
        elif event.key == "tab":
            event.stop()
            event.prevent_default()
            self.screen.focus_next()
        elif event.key in LEAVE_KEYS:
            event.stop()
            event.prevent_default()
            # Not by a binding: those run only after keys that are already on their way here.
            self._leave()
        elif event.key == "up" and not self.text:
            event.stop()
            event.prevent_default()
            self.post_message(self.EditNewest())

    def on_text_area_changed(self) -> None:
        """Offer names for a mention that is being written."""
        self.offer()

    def on_text_area_selection_changed(self) -> None:
        """The cursor entered or left a mention."""
        self.offer()

    def offer(self) -> None:
        """Find the names that the mention under the cursor may mean."""
        row, column = self.cursor_location
        begun = begun_at(self.document.get_line(row), column) if self.has_focus else None
        names: list[str] = []
        if begun is not None:
            names = candidates(begun[1], self.people, everybody=self.may_call_all)
        if names != self._names:
            self._names, self._chosen = names, 0
            self.post_message(self.Completing(tuple(names), 0))

    def close_offer(self) -> bool:
        """Offer no names until the text changes. Returns whether some were offered."""
        offered, self._names = bool(self._names), []
        if offered:
            self.post_message(self.Completing((), 0))
        return offered

    def put(self, text: str) -> None:
        """Replace the whole text; the cursor stands at its end."""
        if text != self.text:
            self.load_text(text)
            self.move_cursor(self.document.end)

    def _choose(self, by: int) -> None:
        self._chosen = (self._chosen + by) % len(self._names)
        self.post_message(self.Completing(tuple(self._names), self._chosen))

    def _complete(self) -> None:
        row, column = self.cursor_location
        line = self.document.get_line(row)
        begun = begun_at(line, column)
        if begun is not None:
            filled, cursor = completed(line, column, begun[0], self._names[self._chosen])
            self.replace(filled, (row, 0), (row, len(line)))
            self.move_cursor((row, cursor))
        self.close_offer()
