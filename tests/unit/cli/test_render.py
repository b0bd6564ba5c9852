"""What the command shows, as values in and lines out."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from parley_cli.render import clock_text, json_line, message_lines, notice_line, preview, table_lines

_NOON_MS = int(datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC).timestamp() * 1000)
_HOUR_MS = 3_600_000


def test_a_moment_of_today_shows_the_time_only() -> None:
    assert clock_text(_NOON_MS, _NOON_MS + _HOUR_MS, UTC) == "12:00:00"
    assert clock_text(_NOON_MS - 24 * _HOUR_MS, _NOON_MS, UTC) == "2026-11-21 12:00"


def test_today_is_a_day_of_the_readers_zone() -> None:
    seoul = timezone(timedelta(hours=9))
    # 12:00 UTC is 21:00 in Seoul; four hours later it is the next day there, and the same day in UTC.
    assert clock_text(_NOON_MS, _NOON_MS + 4 * _HOUR_MS, seoul) == "2026-11-22 21:00"
    assert clock_text(_NOON_MS, _NOON_MS + 4 * _HOUR_MS, UTC) == "12:00:00"


def test_a_message_shows_who_and_where() -> None:
    assert message_lines(clock="12:00:00", label="", author="alice", text="안녕 👋\n") == [
        "12:00:00 alice: 안녕 👋"
    ]
    assert message_lines(clock="12:00:00", label="#trip", author="bob", text="a") == [
        "12:00:00 [#trip] bob: a"
    ]


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"])))
def test_no_text_can_forge_a_line_of_somebody_else(text: str) -> None:
    """Planted: printing the lines of a text without indent was caught here."""
    first, *others = message_lines(clock="12:00:00", label="", author="mallory", text=text)
    assert first.startswith("12:00:00 mallory: ")
    assert all(line.startswith("    ") for line in others)


def test_a_notice_is_one_line() -> None:
    assert notice_line(clock="12:00:00", label="#a\nb", text="x\ny") == "12:00:00 [#a␊b] * x␊y"


@pytest.mark.parametrize("cells", [1, 2, 5, 10])
@given(text=st.text(alphabet=st.sampled_from("a한글👍 \n\x1b")))
def test_a_preview_is_one_line_and_fits(cells: int, text: str) -> None:
    """Planted: counting code points instead of cells was caught here (Korean letters take two)."""
    shown = preview(text, cells)
    assert "\n" not in shown
    assert cell_len(shown) <= cells


def test_columns_line_up_for_wide_letters() -> None:
    lines = table_lines(["NAME", "N"], [["지민", "1"], ["bob", "22"]])
    assert lines == ["NAME  N", "지민  1", "bob   22"]


def test_an_empty_table_is_its_headings() -> None:
    assert table_lines(["A", "B"], []) == ["A  B"]


@given(st.dictionaries(st.text(), st.text(alphabet=st.characters())))
def test_json_is_exact_and_holds_no_control(fields: dict[str, str]) -> None:
    """Planted: json.dumps alone (C1 and DEL pass through it) was caught here."""
    line = json_line(fields)
    assert json.loads(line) == fields
    assert not any(ord(sign) < 0x20 or 0x7F <= ord(sign) <= 0x9F or sign in "\u2028\u2029" for sign in line)
    line.encode()
