"""What the command shows, as pure functions: values in, lines out. Lines are neutral (see `neutral`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

from rich.cells import cell_len, set_cell_size

from parley_cli.neutral import neutral_line, neutral_lines

_CONTINUATION = "    "
_JSON_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def clock_text(time_ms: int, now_ms: int, zone: tzinfo | None) -> str:
    """A moment for people: the time of day if today in `zone` (None: this machine's), else the date too."""
    moment = datetime.fromtimestamp(time_ms / 1000, tz=zone)
    today = datetime.fromtimestamp(now_ms / 1000, tz=zone).date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")


def message_lines(*, clock: str, label: str, author: str, text: str, marks: str = "") -> list[str]:
    """A message as lines. All but the first are indented, so that no text can look like another's message.

    `marks` stand before the text, in brackets: no text can look like one of them.
    """
    first, *others = neutral_lines(text)
    said = f" ({neutral_line(marks)})" if marks else ""
    return [
        f"{_head(clock, label)}{neutral_line(author)}{said}: {first}",
        *(_CONTINUATION + line for line in others),
    ]


def notice_line(*, clock: str, label: str, text: str) -> str:
    """Something that happened in a channel and is no message, marked by a star."""
    return f"{_head(clock, label)}* {neutral_line(text)}"


def _head(clock: str, label: str) -> str:
    return f"{clock} [{neutral_line(label)}] " if label else f"{clock} "


def preview(text: str, cells: int) -> str:
    """The beginning of `text` on one line, at most `cells` cells wide (Korean letters and emoji take two)."""
    line = neutral_line(" ".join(text.split()))
    if cell_len(line) <= cells:
        return line
    return set_cell_size(line, max(0, cells - 1)).rstrip() + "…"


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines: columns as wide as their widest cell, two blanks between them. Cells must be neutral.

    Nothing is cut: a pipe gets whole values.
    """
    everything = [headings, *rows]
    widths = [max(cell_len(row[column]) for row in everything) for column in range(len(headings))]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in everything
    ]


def json_line(fields: Mapping[str, object]) -> str:
    """One JSON object on one line. Texts are exact after decoding; the line holds no control characters."""
    encoded = json.dumps(fields, ensure_ascii=False, separators=(", ", ": "))
    return _JSON_UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", encoded)
