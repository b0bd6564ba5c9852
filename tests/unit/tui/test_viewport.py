"""A reader's place holds, whatever happens above and below it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parley_cli.tui.model.layout import BlockKey
from parley_cli.tui.model.viewport import Place, last_top, place_at, top_of, top_to_show, total

Column = list[tuple[BlockKey, int]]


def _column(heights: list[int], first: int = 1000) -> Column:
    return [(("item", first + place), height) for place, height in enumerate(heights)]


_HEIGHTS = st.lists(st.integers(1, 30), min_size=1, max_size=40)
_WINDOW = st.integers(1, 50)


def _line_at(column: Column, line: int) -> tuple[BlockKey, int]:
    begin = 0
    for key, height in column:
        if begin <= line < begin + height:
            return key, line - begin
        begin += height
    raise AssertionError("no such line")


@given(_HEIGHTS, st.lists(st.integers(1, 30), max_size=40), _WINDOW, st.data())
def test_older_messages_above_move_nothing_that_is_seen(
    heights: list[int], older: list[int], window: int, data: st.DataObject
) -> None:
    """Planted: a place counted from the top of the column was caught here."""
    column = _column(heights)
    top = data.draw(st.integers(0, last_top(column, window)))
    place = place_at(column, top, window)
    more = _column(older, 1) + column
    moved = top_of(more, place, window)
    if place is None:
        assert moved == last_top(more, window)
    else:
        assert moved == top + sum(older)
        assert _line_at(more, moved) == _line_at(column, top)


@given(_HEIGHTS, _HEIGHTS, _WINDOW, st.data())
def test_newer_messages_below_move_only_who_follows_the_end(
    heights: list[int], newer: list[int], window: int, data: st.DataObject
) -> None:
    """Planted: a place taken at the end instead of None left the reader behind."""
    column = _column(heights)
    top = data.draw(st.integers(0, last_top(column, window)))
    place = place_at(column, top, window)
    more = column + _column(newer, 5000)
    if top == last_top(column, window):
        assert place is None
        assert top_of(more, place, window) == last_top(more, window)
    else:
        assert top_of(more, place, window) == top


@given(_HEIGHTS, _WINDOW, st.data())
def test_a_message_that_grows_or_shrinks_above_the_window_does_not_move_it(
    heights: list[int], window: int, data: st.DataObject
) -> None:
    """Editing an old message, or reactions on it. Planted: an absolute line number was caught."""
    column = _column(heights)
    top = data.draw(st.integers(0, last_top(column, window)))
    place = place_at(column, top, window)
    if place is None:
        return
    above = [number for number, (key, _) in enumerate(column) if key < place.key]
    if not above:
        return
    number = data.draw(st.sampled_from(above))
    changed = list(column)
    changed[number] = (column[number][0], data.draw(st.integers(1, 60)))
    moved = top_of(changed, place, window)
    if moved != last_top(changed, window):
        assert _line_at(changed, moved) == _line_at(column, top)


@given(_HEIGHTS, _WINDOW, st.integers(-5, 500))
def test_the_window_never_leaves_the_column(heights: list[int], window: int, top: int) -> None:
    """Also for a place whose block is gone. Planted: no clamp for a vanished block."""
    column = _column(heights)
    for place in (None, Place(("item", 7), 3, top), Place(column[0][0], top, top)):
        found = top_of(column, place, window)
        assert 0 <= found <= max(total(column) - window, 0)


@given(_HEIGHTS, _WINDOW, st.data())
def test_a_selected_message_is_in_the_window(heights: list[int], window: int, data: st.DataObject) -> None:
    """Whole, or its head where it is higher than the window. Planted: no look at the lower edge."""
    column = _column(heights)
    number = data.draw(st.integers(0, len(column) - 1))
    top = data.draw(st.integers(0, last_top(column, window)))
    found = top_to_show(column, column[number][0], top, window)
    begin = sum(heights[:number])
    if heights[number] <= window:
        assert found <= begin and begin + heights[number] <= found + window
    else:
        assert found == begin
    assert top_to_show(column, column[number][0], found, window) == found


def test_a_date_that_moves_up_does_not_take_the_reader_with_it() -> None:
    """The window begins at a date; older messages of that day come. Planted: dates held places too."""
    column: Column = [(("day", 1), 1), (("item", 10), 3), (("item", 11), 30)]
    place = place_at(column, 0, 5)
    more: Column = [(("day", 1), 1), (("item", 9), 4), (("item", 10), 3), (("item", 11), 30)]
    top = top_of(more, place, 5)
    assert _line_at(more, top + 1) == (("item", 10), 0)
