"""Text of strangers on a terminal: whatever it holds, it cannot steer the terminal or forge a line."""

from __future__ import annotations

import re

# Line breaks that terminals and readers may act on. Everything else that is a control is made visible.
_LINE_BREAKS = re.compile("\r\n|\n")

# Controls (C0 but tab, DEL, C1), line and paragraph separators, and the marks that reorder what is shown.
# Zero-width joiners and variation selectors stay: emoji and many scripts need them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def _visible(match: re.Match[str]) -> str:
    code_point = ord(match.group())
    if code_point < 0x20:
        return chr(0x2400 + code_point)
    if code_point == 0x7F:
        return "\u2421"
    return f"<U+{code_point:04X}>"


def neutral_line(text: str) -> str:
    """`text` on one line: every control, line feeds too, is replaced by a visible sign."""
    return _UNSAFE.sub(_visible, text)


def neutral_lines(text: str) -> list[str]:
    """The lines of `text`, at least one, each neutral. Line feeds at the very end make no empty lines."""
    lines = [neutral_line(line) for line in _LINE_BREAKS.split(text)]
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines
