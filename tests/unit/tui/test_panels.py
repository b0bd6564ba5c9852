"""The panels around the messages: states in words, nothing too wide, nothing that steers the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from parley_cli.tui.model.connection import Connection, connection_text
from parley_cli.tui.model.inbox import InboxLine
from parley_cli.tui.model.member import Member, choices_about, sorted_members
from parley_cli.tui.model.panels import completion_text, inbox_row, member_row, status_text
from parley_cli.tui.model.state import State

if TYPE_CHECKING:
    from parley_cli.tui.model.layout import Line


def _text(line: Line) -> str:
    return "".join(span for span, _ in line)


def test_an_inbox_line_says_open_unread_and_calling_without_colour() -> None:
    line = InboxLine("c", "#여행", False, unread=3, head_seq=9, preview="bob: 안녕", calls_me=True)
    first, second = inbox_row(line, current=True, width=24)
    assert _text(first) == "» #여행             @(3)"
    assert _text(second) == "  bob: 안녕"


@given(st.text(max_size=40), st.text(max_size=40), st.integers(16, 50), st.integers(0, 10**6))
def test_no_row_is_too_wide(label: str, preview: str, width: int, unread: int) -> None:
    """Planted: a room that forgot the count was too wide by it."""
    line = InboxLine("c", label, False, unread=unread, head_seq=1, preview=preview)
    for row in inbox_row(line, current=False, width=width):
        assert cell_len(_text(row)) <= width
        assert _text(row).isprintable() or " " in _text(row)
    member = Member("u", label, "owner", 5)
    for row in member_row(member, me_id="u", head_seq=5, width=max(width, 24)):
        assert cell_len(_text(row)) <= max(width, 24)


@pytest.mark.parametrize(
    ("connection", "text"),
    [
        (Connection("live"), "connected"),
        (Connection("live", waiting_messages=2), "connected · 2 unsent"),
        (Connection("live", waiting_events=500), "lagging: 500 events behind"),
        (Connection("catching up", channels_behind=1), "catching up: 1 conversation behind"),
        (Connection("waiting", retry_in_seconds=1.2), "NO CONNECTION, next try in 2 s"),
        (Connection("waiting", retry_in_seconds=0.0), "NO CONNECTION, next try now"),
        (Connection("connecting"), "connecting …"),
        (Connection("connecting", trouble="gone"), "connecting again …"),
        (Connection("ended", trouble="logged out"), "ENDED: logged out"),
    ],
)
def test_the_connection_is_told_in_words(connection: Connection, text: str) -> None:
    assert connection_text(connection) == text


def test_what_is_told_is_neutral_and_marked() -> None:
    assert status_text(State(server="s", told="no\x1b[2J", told_bad=True)) == " ! no␛[2J"


def test_the_chosen_name_stands_in_brackets() -> None:
    assert completion_text(["bob", "bo"], 1, 40) == " Tab:  bob  [bo]"


def test_members_stand_by_rank_and_offer_what_the_role_allows() -> None:
    alice, bob, carol = (
        Member("a", "alice", "owner"),
        Member("b", "bob", "admin"),
        Member("c", "carol", "member"),
    )
    assert sorted_members([carol, bob, alice]) == (alice, bob, carol)
    assert [deed for deed, _ in choices_about(carol, alice)] == [
        *("direct", "role:admin", "role:owner", "remove", "ban")
    ]
    assert [deed for deed, _ in choices_about(carol, bob)] == ["direct", "remove", "ban"]
    assert [deed for deed, _ in choices_about(alice, bob)] == ["direct"]
    assert choices_about(alice, alice) == []
