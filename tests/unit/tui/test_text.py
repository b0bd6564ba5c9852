"""Texts of strangers on the screen: nothing is lost, nothing is too wide, nothing steers the terminal."""

from __future__ import annotations

import re
import time

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from parley_cli.tui.model.text import clip, padded, shown_line, wrap

_LETTERS = st.sampled_from(["a", "b", " ", "  ", "안", "녕", "👍", "👨‍👩‍👧", "é", "é", "—", "긴단어입니다"])
_TEXTS = st.lists(_LETTERS, max_size=80).map("".join)


@given(_TEXTS, st.integers(2, 40))
def test_wrapping_keeps_every_letter_and_the_width(text: str, width: int) -> None:
    """Planted: a chop that forgot the last piece, and one that counted letters for cells, were caught."""
    lines = wrap(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(cell_len(line) <= width for line in lines)


@given(_TEXTS, st.integers(0, 40))
@example("안a", 2)
def test_a_clipped_text_fits_and_begins_alike(text: str, width: int) -> None:
    """Planted: an ellipsis behind a first letter of two cells."""
    line = clip(text, width)
    assert cell_len(line) <= width
    assert text.startswith(line.removesuffix("…").rstrip())
    assert cell_len(padded(text, width)) == width


@given(st.text(max_size=200), st.integers(2, 40))
def test_no_control_reaches_the_terminal(text: str, width: int) -> None:
    """Planted: a text that went round `neutral_line` was caught at once."""
    for line in (*wrap(text, width), shown_line(text), clip(text, width)):
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", line)


def test_escape_sequences_are_shown_as_signs() -> None:
    assert wrap("\x1b[31mred\x1b]0;title\x07", 60) == ["␛[31mred␛]0;title␇"]
    assert shown_line("two\nlines") == "two⏎lines"


def test_korean_words_are_broken_between_words_and_syllables() -> None:
    assert wrap("안녕하세요 여러분", 10) == ["안녕하세요", "여러분"]
    assert wrap("가나다라마바사", 5) == ["가나", "다라", "마바", "사"]


def test_line_breaks_and_indentation_stay() -> None:
    assert wrap("def f():\n    return 1\n\nend", 20) == ["def f():", "    return 1", "", "end"]


def test_a_storm_of_marks_is_calmed() -> None:
    """One letter with 10,000 accents would stall a terminal. Planted: without the limit it came through."""
    assert len(wrap("a" + "\u0301" * 10_000, 20)[0]) < 20


def test_the_longest_message_is_wrapped_quickly() -> None:
    """100,000 Korean letters, which need the slow way. Planted: a quadratic chop took minutes."""
    begun = time.process_time()
    assert len(wrap("가" * 50_000 + " 나다" * 16_000, 80)) > 1_000
    assert time.process_time() - begun < 5
