"""The looks of spans. Nothing is told by colour alone: every style stands beside a word or a sign."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from parley_cli.tui.model.layout import Line

STYLES = {
    "": Style(),
    "dim": Style(dim=True),
    "day": Style(dim=True),
    "author": Style(bold=True, color="cyan"),
    "own": Style(bold=True, color="green"),
    "label": Style(),
    "unread": Style(bold=True),
    "mention": Style(bold=True, color="yellow"),
    "quote": Style(dim=True, italic=True),
    "reaction": Style(color="yellow"),
    "more": Style(italic=True, color="cyan"),
    "trouble": Style(bold=True, color="red"),
}


def strip_of(line: Line, base: Style, width: int, *, gutter: str = "", marked: bool = False) -> Strip:
    """A line of the screen, exactly `width` cells, behind `gutter`."""
    mark = Style(bold=True) if marked else Style()
    segments = [Segment(gutter, base + STYLES["own"])] if gutter else []
    segments += [Segment(text, base + STYLES[name] + mark) for text, name in line]
    return Strip(segments).adjust_cell_length(width, base)


def plain(text: str) -> Text:
    """A text for a label: brackets in it are no markup."""
    return Text(text, no_wrap=True, overflow="ellipsis", end="")
