"""The lists beside the messages: conversations and members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_cli.tui.model import panels

if TYPE_CHECKING:
    from parley_cli.tui.model.state import State
    from parley_cli.tui.row_view import RowView

_NARROWEST_ROW_CELLS = 12


def show_inbox(view: RowView, state: State, *, narrow: bool, wanted: bool) -> None:
    """Show the conversations. In a narrow window the list gives way to the messages, unless it is wanted."""
    view.display = not narrow or wanted or state.current is None
    view.set_class(narrow, "narrow")
    current, width = state.channel_id, _row_cells(view)
    view.show_rows(
        [
            (line.channel_id, panels.inbox_row(line, current=line.channel_id == current, width=width))
            for line in state.inbox
        ]
    )


def show_members(view: RowView, state: State) -> None:
    """Show the members of the current conversation, if their list is open."""
    if not view.display:
        return
    width = _row_cells(view)
    head = state.line.head_seq if state.line is not None else 0
    view.show_rows(
        [
            (each.user_id, panels.member_row(each, me_id=state.me_id, head_seq=head, width=width))
            for each in state.current_members
        ]
    )


def _row_cells(view: RowView) -> int:
    return max(view.scrollable_content_region.width - 1, _NARROWEST_ROW_CELLS)
