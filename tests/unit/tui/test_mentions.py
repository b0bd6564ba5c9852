"""Names after an @."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_cli.tui.model.mentions import begun_at, candidates, completed, mentioned


@pytest.mark.parametrize(
    ("text", "cursor", "begun"),
    [
        ("@", 1, (0, "")),
        ("hi @bo", 6, (3, "bo")),
        ("안녕 @철", 5, (3, "철")),
        ("a@b.example", 11, None),
        ("@bob hi", 7, None),
        ("@bob", 2, None),
        ("hi", 2, None),
    ],
)
def test_a_mention_is_seen_where_one_is_written(
    text: str, cursor: int, begun: tuple[int, str] | None
) -> None:
    """Planted: without the look behind, addresses of mail opened the list."""
    assert begun_at(text, cursor) == begun


def test_names_that_begin_so_come_before_names_that_hold_it() -> None:
    assert candidates("o", ["bob", "olga", "Otto", "carl"], everybody=False) == ["olga", "Otto", "bob"]
    assert candidates("", ["bob"], everybody=True) == ["all", "bob"]


def test_completing_replaces_what_was_written_and_keeps_the_rest() -> None:
    assert completed("hi @bo there", 6, 3, "bob") == ("hi @bob there", 8)
    assert completed("@", 1, 0, "철수") == ("@철수 ", 4)


def test_a_text_calls_those_whom_it_names() -> None:
    ids = {"bob": "b", "철수": "c", "dot.": "d"}
    assert mentioned("@bob, (@철수) and @nobody", ids) == (("b", "c"), False)
    assert mentioned("@철수에게 @bob!", ids) == (("c", "b"), False)
    assert mentioned("@all @BOB mail@bob", ids) == (("b",), True)
    assert mentioned("@dot.", ids) == (("d",), False)


@given(st.text(max_size=40), st.integers(0, 40))
def test_no_text_confuses_it(text: str, cursor: int) -> None:
    begun = begun_at(text, min(cursor, len(text)))
    if begun is not None:
        assert text[begun[0]] == "@"
    mentioned(text, {"bob": "b"})
