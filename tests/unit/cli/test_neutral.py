"""Text of strangers cannot steer a terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.neutral import neutral_line, neutral_lines


def test_escape_sequences_become_visible() -> None:
    assert neutral_line("\x1b]0;owned\x07\x1b[2J") == "␛]0;owned␇␛[2J"
    assert neutral_line("\x9b31m red") == "<U+009B>31m red"
    assert neutral_line("back\x08\x7f") == "back␈␡"


def test_a_line_feed_cannot_start_a_line_of_its_own_in_a_name() -> None:
    assert neutral_line("bob\n12:00:00 alice") == "bob␊12:00:00 alice"


def test_marks_that_reorder_the_line_become_visible() -> None:
    assert neutral_line("abc\u202edcba") == "abc<U+202E>dcba"
    assert neutral_line("\u2066x\u2069") == "<U+2066>x<U+2069>"


def test_scripts_and_emoji_stay_as_they_are() -> None:
    text = "안녕하세요 👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 é café\u0301 עברית\tx"
    assert neutral_line(text) == text


def test_lines_keep_their_breaks_and_lose_only_the_last_ones() -> None:
    assert neutral_lines("a\r\nb\n\nc\n\n") == ["a", "b", "", "c"]
    assert neutral_lines("") == [""]
    assert neutral_lines("\n") == [""]
    assert neutral_lines("a\rb") == ["a␍b"]


@given(st.text(alphabet=st.characters()))
def test_no_control_survives(text: str) -> None:
    """Planted: leaving C1 out of the unsafe set was caught here."""
    for line in [neutral_line(text), *neutral_lines(text)]:
        assert [
            sign for sign in line if unicodedata.category(sign) in ("Cc", "Zl", "Zp", "Cs") and sign != "\t"
        ] == []


@given(st.text(), st.text())
def test_a_failure_is_one_safe_line(what: str, advice: str) -> None:
    line = CommandFailure(ExitCode.REFUSED, what, advice).line()
    assert line.startswith("parley:")
    assert line == neutral_line(line)
