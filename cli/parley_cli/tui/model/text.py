"""Texts of strangers, measured and wrapped for a terminal: neutral, in cells, never inside a grapheme."""

from __future__ import annotations

import re

from rich.cells import cell_len, split_graphemes

from parley_cli.neutral import neutral_line, neutral_lines

_TAB = "    "
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe2f\u200b-\u200d\u2060\ufeff"
)
# Eight marks on one letter are more than any script needs; thousands would stall a terminal.
_MARK_STORM = re.compile(f"([{_MARKS}]{{8}})[{_MARKS}]+")
_WORD = re.compile(r" +|[^ ]+")


def shown_line(text: str) -> str:
    """`text` on one line as it may be shown: controls as signs, tabs as blanks, no storms of marks."""
    return _MARK_STORM.sub(r"\1", neutral_line(text.replace("\n", "\u23ce").replace("\t", _TAB)))


def shown_lines(text: str) -> list[str]:
    """The lines of `text`, at least one, as they may be shown."""
    return [_MARK_STORM.sub(r"\1", line.replace("\t", _TAB)) for line in neutral_lines(text)]


def clip(text: str, cells: int) -> str:
    """The beginning of `text` on one line, at most `cells` wide; an ellipsis says that there is more."""
    # What will not be shown need not be made safe first: few graphemes have more than 16 code points.
    line = shown_line(text[: 16 * max(cells, 1)])
    if cell_len(line) <= cells:
        return line
    if cells < 2:
        return "\u2026" * cells
    first = _chop(line, cells - 1)[0]
    return (first.rstrip() if cell_len(first) < cells else "") + "\u2026"


def padded(text: str, cells: int) -> str:
    """`clip`, filled with blanks to exactly `cells`."""
    line = clip(text, cells)
    return line + " " * (cells - cell_len(line))


def wrap(text: str, cells: int) -> list[str]:
    """The lines of `text`, each at most `cells` wide, broken at blanks where there are any.

    Joined and without blanks they hold the same letters. A grapheme wider than a line stands alone on one.
    """
    width = max(cells, 2)
    lines: list[str] = []
    for line in shown_lines(text):
        if len(line) * 2 <= width or cell_len(line) <= width:
            lines.append(line)
        else:
            lines.extend(_wrap_line(line, width))
    return lines


def _wrap_line(line: str, width: int) -> list[str]:
    lines: list[str] = []
    current, current_cells = "", 0
    for word in _WORD.findall(line):
        cells = cell_len(word)
        if current_cells + cells <= width:
            current += word
            current_cells += cells
            continue
        if word[0] == " ":
            # A break takes the place of the blanks.
            lines.append(current)
            current, current_cells = "", 0
            continue
        if current.strip():
            lines.append(current.rstrip(" "))
        elif current:
            # Blanks that begin a line are the author's indentation: they stay unless they fill the line.
            if current_cells + 2 <= width and cells > width - current_cells:
                word = current + word
                cells += current_cells
        *full, current = _chop(word, width)
        lines.extend(full)
        current_cells = cell_len(current)
    if current or not lines:
        lines.append(current)
    return lines


def _chop(word: str, width: int) -> list[str]:
    if word.isascii():
        return [word[start : start + width] for start in range(0, len(word), width)] or [""]
    pieces: list[str] = []
    begin = end = used = 0
    for start, stop, cells in split_graphemes(word)[0]:
        if used + cells > width and start > begin:
            pieces.append(word[begin:start])
            begin, used = start, 0
        used += cells
        end = stop
    pieces.append(word[begin:end])
    return pieces
