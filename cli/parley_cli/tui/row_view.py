"""A list to choose from: rows of one or more lines, moved through by keys and mouse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from parley_cli.tui.model.layout import Line
from parley_cli.tui.style import strip_of

Row = tuple[str, tuple[Line, ...]]
"""The row's key and its lines."""


class RowView(ScrollView, can_focus=True):
    """Rows, one of which has the cursor. The cursor stays on its row when rows come, go and move."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(-1)", show=False),
        Binding("down", "step(1)", show=False),
        Binding("pageup", "step(-10)", show=False),
        Binding("pagedown", "step(10)", show=False),
        Binding("home", "step(-100000)", show=False),
        Binding("end", "step(100000)", show=False),
        Binding("enter", "choose", show=False),
    ]

    class Chosen(Message):
        """Somebody wants this row."""

        def __init__(self, view: RowView, key: str) -> None:
            super().__init__()
            self.view = view
            self.key = key

        @property
        def control(self) -> RowView:
            """The list, so that handlers may name it."""
            return self.view

    def __init__(self, *, id: str, cursor_always: bool = False) -> None:
        super().__init__(id=id)
        self._cursor_always = cursor_always
        self._rows: list[Row] = []
        self._lines: list[tuple[int, Line]] = []
        self.cursor: str | None = None

    def show_rows(self, rows: Sequence[Row], cursor: str | None = None) -> None:
        """Show these rows; `cursor` puts the cursor on one, else it stays where it is."""
        keys = [key for key, _ in rows]
        before = [key for key, _ in self._rows]
        wanted = cursor if cursor is not None else self.cursor
        if wanted not in keys:
            # Where its row is gone the cursor stays at the same height.
            place = before.index(wanted) if wanted in before else 0
            wanted = keys[min(place, len(keys) - 1)] if keys else None
        self._rows, self.cursor = list(rows), wanted
        self._lines = [(number, line) for number, (_, lines) in enumerate(rows) for line in lines]
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the window."""
        width = self.size.width
        base = self.rich_style
        place = y + self.scroll_offset.y
        if place >= len(self._lines):
            return Strip.blank(width, base)
        number, line = self._lines[place]
        at_cursor = self._rows[number][0] == self.cursor and (self.has_focus or self._cursor_always)
        gutter = "▶" if at_cursor and (place == 0 or self._lines[place - 1][0] != number) else " "
        return strip_of(line, base, width, gutter=gutter, marked=at_cursor)

    def action_step(self, by: int) -> None:
        """Move the cursor."""
        keys = [key for key, _ in self._rows]
        if not keys:
            return
        place = keys.index(self.cursor) + by if self.cursor in keys else 0
        place = min(max(place, 0), len(keys) - 1)
        self.cursor = keys[place]
        begin = sum(len(lines) for _, lines in self._rows[:place])
        end = begin + len(self._rows[place][1])
        top = min(max(self.scroll_offset.y, end - self.size.height), begin)
        self.scroll_to(y=top, animate=False, immediate=True)
        self.refresh()

    def action_choose(self) -> None:
        """Choose the row of the cursor."""
        if self.cursor is not None:
            self.post_message(self.Chosen(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        """Choose the row that was clicked."""
        place = event.y + self.scroll_offset.y
        if 0 <= place < len(self._lines):
            self.cursor = self._rows[self._lines[place][0]][0]
            self.refresh()
            self.action_choose()

    def on_focus(self) -> None:
        """The cursor is shown."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor is hidden."""
        self.refresh()
