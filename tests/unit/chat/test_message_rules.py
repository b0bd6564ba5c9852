"""What a message may hold, counted in code points, and what is visible at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_runtime.refusal import Reason
from parley_server.chat.message_rules import (
    Content,
    change_digest,
    check_content,
    check_emoji,
    digest_of,
    is_visible,
)

LIMIT = 100_000


def fields(text: str, attributes: dict[str, str] | None = None) -> list[str]:
    refusal = check_content(Content(text, attributes or {}), text_limit_code_points=LIMIT)
    if refusal is None:
        return []
    assert refusal.reason is Reason.INVALID_FIELD
    return [violation.field for violation in refusal.violations]


@pytest.mark.parametrize("character", ["x", "한", "ᄒ", "😀", "e\u0301", "👨‍👩‍👧‍👦", "\U0010fffd"])
def test_the_limit_counts_code_points(character: str) -> None:
    """100,000 code points of any script pass, one more does not. Counting bytes or UTF-16 units fails."""
    text = (character * LIMIT)[:LIMIT]
    assert len(text) == LIMIT
    assert fields(text) == []
    assert fields(text + "x") == ["text"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\t\r\n\x0b\x0c\x1c\x85",
        "\u00a0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000",
        "\u200b\u200c\u200d\u2060\ufeff",
        "\u200e\u200f\u202a\u202e\u2066\u2069\u00ad",
        "\u115f\u1160\u3164\uffa0",
        "\u2800",
        "\ufe0f\ufe00",
        "\U000e0100\U000e01ef",
        "\u180b\u180f\u034f\u17b4\u17b5",
        "\U000e0020\U000e007f",
        " \u200b\u3164\ufe0f\n",
    ],
)
def test_text_that_shows_nothing_is_refused(text: str) -> None:
    """White space, zero-width, fillers, selectors. Leaving the blanks out of the check fails here."""
    assert fields(text) == ["text"]
    assert fields(text + "한") == []
    assert not any(map(is_visible, text))


@pytest.mark.parametrize("text", ["\u0301", "❤\ufe0f", "\u200d👩", "ㅤ.", "‮abc", "\U0001f3fb"])
def test_text_that_shows_something_is_taken(text: str) -> None:
    """One visible character is enough, also a combining mark by itself."""
    assert fields(text) == []


def test_attributes_have_exact_limits() -> None:
    """32 entries, keys of 1 to 64 bytes, 4096 bytes in all. Counting characters lets Korean keys through."""
    assert fields("x", {f"k{number}": "" for number in range(32)}) == []
    assert fields("x", {f"k{number}": "" for number in range(33)}) == ["attributes"]
    assert fields("x", {"": "v"}) == ["attributes"]
    assert fields("x", {"k" * 64: "v"}) == []
    assert fields("x", {"k" * 65: "v"}) == ["attributes"]
    assert fields("x", {"가" * 22: "v"}) == ["attributes"]
    assert fields("x", {"k": "v" * 4095}) == []
    assert fields("x", {"k": "v" * 4096}) == ["attributes"]
    assert fields("x", {"k": "가" * 1365}) == []
    assert fields("x", {"k": "가" * 1366}) == ["attributes"]


def test_every_broken_rule_is_named() -> None:
    """A caller repairs everything at once."""
    assert fields("", {"": "v" * 5000}) == ["text", "attributes", "attributes"]


@given(st.lists(st.text()), st.lists(st.text()))
def test_a_digest_stands_for_its_fields(one: list[str], other: list[str]) -> None:
    """Equal fields, equal digest; no field runs into the next. Hashing without lengths fails."""
    assert (digest_of(*one) == digest_of(*other)) == (one == other)
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert len(digest_of(*one)) == 32


def test_a_digest_is_the_same_in_every_version() -> None:
    """Digests are stored: a change would turn every repeat into CLIENT_ID_REUSED."""
    pinned = "ea53a96738ea9f24c1565516c943f47e2b1d06bdb3dabb70cfa97890bee01a5e"
    assert digest_of("hello", "").hex() == pinned


@pytest.mark.parametrize(
    ("mentions", "expected"),
    [
        (["u"] * 50, []),
        (["u"] * 51, ["mentions"]),
        (["u"] * 10_000, ["mentions"]),
        ([""], ["mentions"]),
        (["u" * 65], ["mentions"]),
    ],
)
def test_mentions_are_few_and_look_like_ids(mentions: list[str], expected: list[str]) -> None:
    """Fifty ids pass; ten thousand, an empty or an overlong one are named."""
    refusal = check_content(Content("x", mentions=mentions), text_limit_code_points=LIMIT)
    assert ([] if refusal is None else [found.field for found in refusal.violations]) == expected


@pytest.mark.parametrize("emoji", ["👍", "❤️", "👨‍👩‍👧‍👦", "🇰🇷", "👋🏽", "ㅋㅋㅋ", "+1", ":shipit:"])
def test_what_may_stand_as_a_reaction(emoji: str) -> None:
    """Emojis of several code points, and short words."""
    assert check_emoji(emoji) is None


@pytest.mark.parametrize(
    "emoji", ["", " ", "a b", "\u200d", "\ufe0f", "👍\n", "x" * 17, "👍" * 17, "\x1b[31m"]
)
def test_what_may_not_stand_as_a_reaction(emoji: str) -> None:
    """Nothing, white space, what prints nothing, controls, and whole sentences."""
    refusal = check_emoji(emoji)
    assert refusal is not None
    assert refusal.violations[0].field == "emoji"


def test_new_kinds_of_content_keep_old_digests() -> None:
    """A message without mentions has the digest of before there were any, so its retries stay retries."""
    assert digest_of(*Content("x", {"b": "2", "a": "1"}).fields()) == digest_of("x", "a", "1", "b", "2")
    assert Content("x", mentions=["u"]).fields() != Content("x", mentions=["v"]).fields()
    assert Content("x", mention_all=True).fields() != Content("x").fields()


def test_no_message_has_the_digest_of_a_change() -> None:
    """A text "pin" with an attribute that looked like the rest passed for the pin of a message once."""
    assert change_digest("pin", "5", "True") != digest_of(*Content("pin", {"5": "True"}).fields())
    assert change_digest("pin", "5", "True") != change_digest("pin", "5", "False")
