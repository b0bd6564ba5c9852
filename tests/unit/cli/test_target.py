"""TARGET: what a person types to name a conversation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.target import (
    ChannelTarget,
    TitleTarget,
    UserTarget,
    choose_by_title,
    parse_target,
    parse_user,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@bob", UserTarget("bob")),
        ("@지민", UserTarget("지민")),
        ("#trip", TitleTarget("trip")),
        ("#제주 여행 🏝️", TitleTarget("제주 여행 🏝️")),
        ("##", TitleTarget("#")),
        ("0198c2f0-aaaa", ChannelTarget("0198c2f0-aaaa")),
    ],
)
def test_a_target_is_told_by_its_first_sign(text: str, expected: object) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize("text", ["", " ", "@", "@ ", "#"])
def test_a_target_that_names_nothing_is_a_usage_error(text: str) -> None:
    with pytest.raises(CommandFailure) as caught:
        parse_target(text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.advice


def test_where_only_a_user_can_stand_the_sign_may_be_left_out() -> None:
    assert parse_user("bob") == parse_user("@bob") == "bob"


def test_a_title_is_found_only_if_it_names_one_channel() -> None:
    channels = [("c1", "trip"), ("c2", "work"), ("c3", "work")]
    assert choose_by_title("trip", channels) == "c1"

    with pytest.raises(CommandFailure) as none:
        choose_by_title("Trip", channels)
    assert none.value.exit_code == ExitCode.REFUSED

    with pytest.raises(CommandFailure) as several:
        choose_by_title("work", channels)
    assert several.value.exit_code == ExitCode.USAGE
    assert "c2, c3" in several.value.advice


@given(st.text())
def test_any_text_is_a_target_or_a_usage_error(text: str) -> None:
    """Planted: an IndexError for the empty text was caught here."""
    try:
        parse_target(text)
    except CommandFailure as failure:
        assert failure.exit_code == ExitCode.USAGE
