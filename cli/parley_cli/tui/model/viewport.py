"""Where a reader is in a column of blocks, so that the place holds while blocks come, go and change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parley_cli.tui.model.layout import BlockKey

Heights = Sequence[tuple[BlockKey, int]]
"""The blocks from top to bottom and how many lines each has."""


@dataclass(frozen=True, slots=True)
class Place:
    """The reader's place: the block `key` begins `offset` lines below the top of the window (or above: < 0).

    `top` is the line at the top of the window when the place was taken, for when the block is gone.
    """

    key: BlockKey
    offset: int
    top: int


def total(heights: Heights) -> int:
    """How many lines there are."""
    return sum(height for _, height in heights)


def last_top(heights: Heights, window: int) -> int:
    """The top line at which the end is in the window."""
    return max(total(heights) - window, 0)


def place_at(heights: Heights, top: int, window: int) -> Place | None:
    """The place of a reader whose window begins at line `top`. None at the end: such a reader follows it."""
    if top >= last_top(heights, window):
        return None
    begin = 0
    held: Place | None = None
    for key, height in heights:
        if begin >= top + window:
            break
        # Only messages hold a place: a date moves when older messages of its day are fetched.
        if key[0] == "item" and begin + height > top:
            return Place(key, begin - top, top)
        begin += height
    return held or (Place(heights[0][0], -top, top) if heights else None)


def top_of(heights: Heights, place: Place | None, window: int) -> int:
    """The line at which the window of a reader at `place` begins now."""
    last = last_top(heights, window)
    if place is None:
        return last
    begin = 0
    for key, height in heights:
        if key == place.key:
            # A block that became shorter must not carry the reader past it.
            offset = max(place.offset, 1 - height)
            return min(max(begin - offset, 0), last)
        begin += height
    return min(max(place.top, 0), last)


def top_to_show(heights: Heights, key: BlockKey, top: int, window: int) -> int:
    """The top line nearest to `top` that shows the block: whole, or its head if it is larger."""
    begin = 0
    for each, height in heights:
        if each == key:
            lowest = begin + height - window
            return min(max(top, lowest), begin, last_top(heights, window)) if height <= window else begin
        begin += height
    return top
