"""Which names there may be, and when two are one."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from parley_server.accounts.names import LONGEST_NAME, fold, normal_username, username_fault

letters = st.characters(categories=["Lu", "Ll", "Lt", "Lm", "Lo", "Nd"])
names = st.text(st.one_of(letters, st.sampled_from(".-_")), min_size=1, max_size=LONGEST_NAME)


@pytest.mark.parametrize(
    "name", ["bob", "Bob.B-b_b", "7", "김철수", "がく", "Ольга", "straße", "محمد", "a" * 64, "한" * 64]
)
def test_names_of_many_scripts_are_taken(name: str) -> None:
    assert username_fault(name) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "is required"),
        ("a" * 65, "at most 64"),
        ("a" * 100_000, "at most 64"),
        (".bob", "must start with"),
        ("-", "must start with"),
        ("_bob", "must start with"),
        ("bob smith", "letters, digits"),
        ("bob\x00", "letters, digits"),
        ("bob\u200b", "letters, digits"),
        ("bob\u202e", "letters, digits"),
        ("b\u3164b", "letters, digits"),
        ("\u1160", "letters, digits"),
        ("bob@host", "letters, digits"),
        ("😀", "letters, digits"),
        ("\ufdfa", "letters, digits"),
    ],
)
def test_other_names_are_refused(name: str, fault: str) -> None:
    """Planted: invisible Hangul fillers taken as the letters that they are by category; found by two of
    these.
    """
    assert fault in (username_fault(name) or "")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bob", "bOB"),
        ("STRASSE", "straße"),
        ("ＢＯＢ", "bob"),
        (unicodedata.normalize("NFD", "김철수"), "김철수"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("ﬁn", "FIN"),
    ],
)
def test_names_that_look_alike_are_one(one: str, other: str) -> None:
    """Planted: lower() for casefold(); found by ß and by the final sigma."""
    assert fold(one) == fold(other)


def test_a_decomposed_name_is_measured_composed() -> None:
    """64 syllables are 192 jamo on some keyboards. Planted: the raw text measured; found here."""
    assert username_fault(unicodedata.normalize("NFD", "각" * 64)) is None
    assert username_fault(unicodedata.normalize("NFD", "각" * 65)) is not None


@given(names)
def test_a_faultless_name_stays_one_when_kept(name: str) -> None:
    assume(username_fault(name) is None)
    kept = normal_username(name)
    assert username_fault(kept) is None
    assert normal_username(kept) == kept
    assert fold(kept) == fold(name)
    assert len(kept) <= LONGEST_NAME


@given(st.text(max_size=80))
@example("\u33cb")
def test_folding_is_final_and_blind_to_case_and_width(text: str) -> None:
    """Planted: the first NFKC left out; found by a sign such as \u33cb, which unfolds to capitals."""
    folded = fold(text)
    assert fold(folded) == folded
    assert fold(text.casefold()) == folded
    assert fold(unicodedata.normalize("NFKC", text)) == folded
    assert fold(unicodedata.normalize("NFC", text)) == folded


def test_folding_is_final_for_every_character() -> None:
    """Planted: as above; found by each such sign."""
    characters = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    assert [character for character in characters if fold(fold(character)) != fold(character)] == []
