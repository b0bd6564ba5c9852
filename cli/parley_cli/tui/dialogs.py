"""Questions in a window of their own: what one types, chooses or confirms is the answer; Esc is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from parley_cli.failure import CommandFailure
from parley_cli.tui.model.text import clip, shown_line
from parley_cli.tui.row_view import RowView
from parley_cli.tui.style import plain
from parley_cli.tui.type_ahead import passed_on

Search = Callable[[str], Awaitable[list[str]]]

_ROW_CELLS = 64


class Field(Input):
    """One short text of a question."""

    def on_key(self, event: events.Key) -> None:
        """Enter goes on at once, so that what is typed next is the next field's."""
        if not passed_on(self, event) and event.key == "enter" and isinstance(self.screen, Ask):
            event.stop()
            event.prevent_default()
            self.screen.go_on(self)


class Ask(ModalScreen[list[str] | None]):
    """Asks for one or several short texts. Enter goes to the next one, and from the last one on."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]

    def __init__(self, title: str, fields: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title
        self._fields = fields

    def compose(self) -> ComposeResult:
        """The fields under their labels."""
        with Vertical(classes="dialog"):
            yield Static(plain(self._title), classes="dialog-title")
            for number, (label, initial) in enumerate(self._fields):
                yield Static(plain(label))
                yield Field(initial, id=f"field{number}", compact=True, select_on_focus=False)
            yield Static(plain("Enter: go on · Esc: leave it"), classes="hint")

    def go_on(self, field: Field) -> None:
        """Go on to the next field, or answer."""
        fields = list(self.query(Field))
        place = fields.index(field)
        if place + 1 < len(fields):
            self.set_focus(fields[place + 1])
        else:
            self.dismiss([field.value.strip() for field in fields])


class Confirm(ModalScreen[bool]):
    """Asks whether to do something that cannot be undone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "dismiss(True)", show=False),
        Binding("n,escape", "dismiss(False)", show=False),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question."""
        with Vertical(classes="dialog"):
            yield Static(plain(self._question), classes="dialog-title")
            yield Static(plain("y or Enter: yes · n or Esc: no"), classes="hint")


class Choose(ModalScreen[str | None]):
    """Asks to choose one of several rows: (key, words). With `search` one types, and rows are found for it.

    With `free` what is typed is an answer too when no row is chosen.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", show=False),
        Binding("down", "step(1)", show=False),
        Binding("up", "step(-1)", show=False),
    ]

    def __init__(
        self, title: str, rows: Sequence[tuple[str, str]], *, search: Search | None = None, free: bool = False
    ) -> None:
        super().__init__()
        self._title = title
        self._choices = list(rows)
        self._search = search
        self._free = free

    def compose(self) -> ComposeResult:
        """The field, if any, and the rows."""
        with Vertical(classes="dialog"):
            yield Static(plain(self._title), classes="dialog-title")
            if self._search is not None or self._free:
                yield Input(id="query", compact=True)
            yield RowView(id="choices", cursor_always=True)
            yield Static(plain("↑ ↓ Enter: choose · Esc: leave it"), classes="hint", id="choose-hint")

    def on_mount(self) -> None:
        """The rows are there at once."""
        self._show()
        if self._search is None and not self._free:
            self.query_one(RowView).focus()

    def _show(self) -> None:
        rows = [(key, (((clip(words, _ROW_CELLS), ""),),)) for key, words in self._choices]
        view = self.query_one(RowView)
        view.styles.height = min(max(len(rows), 1), 14)
        view.show_rows(rows)

    def action_step(self, by: int) -> None:
        """Move the cursor while one types."""
        self.query_one(RowView).action_step(by)

    @on(RowView.Chosen)
    def chosen(self, event: RowView.Chosen) -> None:
        """That row is the answer."""
        self.dismiss(event.key)

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        """What was typed is the answer, or the row of the cursor."""
        typed = event.value.strip()
        cursor = self.query_one(RowView).cursor
        if self._search is None:
            self.dismiss(typed or cursor)
        elif typed and cursor is not None:
            self.dismiss(cursor)

    @on(Input.Changed)
    def changed(self, event: Input.Changed) -> None:
        """Search for what is typed now; an earlier search is given up."""
        if self._search is not None and event.value.strip():
            self._look(event.value.strip())

    @work(exclusive=True, group="search")
    async def _look(self, typed: str) -> None:
        assert self._search is not None
        hint = self.query_one("#choose-hint", Static)
        try:
            names = await self._search(typed)
        except CommandFailure as failure:
            hint.update(plain(f"! {shown_line(failure.what)}"))
            return
        self._choices = [(name, f"@{name}") for name in names]
        hint.update(plain("↑ ↓ Enter: choose · Esc: leave it" if names else "nobody is called so"))
        self._show()


class Show(ModalScreen[None]):
    """Shows a text until a key is pressed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,f1", "dismiss(None)", show=False)]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        """The text."""
        with Vertical(classes="dialog"):
            yield Static(plain(self._title), classes="dialog-title")
            with VerticalScroll(id="shown"):
                yield Static(self._text, markup=False)
            yield Static(plain("Esc: close"), classes="hint")

    def on_mount(self) -> None:
        """The arrow keys scroll."""
        self.query_one("#shown").focus()
