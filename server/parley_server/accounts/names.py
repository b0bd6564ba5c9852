"""What names look like and when two are the same. Pure."""

from __future__ import annotations

import unicodedata

LONGEST_NAME = 64
# A canonical composition joins at most four code points into one (Unicode Standard Annex 15), so nothing
# longer can shrink to a name: this bounds the work before normalising.
_LONGEST_RAW_NAME = 4 * LONGEST_NAME
# Letters by category, but invisible: two names that look the same must not differ by one of these.
_INVISIBLE_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")
_PUNCTUATION = frozenset(".-_")


def normal_username(text: str) -> str:
    """The username as it is kept and shown: NFKC. Only for text that `username_fault` finds no fault with."""
    return unicodedata.normalize("NFKC", text)


def fold(text: str) -> str:
    """The form in which names and queries are compared: case folding between NFKC and NFKC."""
    # NFKC first: what it unfolds may have a case. NFKC again: folding may leave what composes.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def username_fault(text: str) -> str | None:
    """What is wrong with a username, or None: 1 to 64 letters, digits, dots, dashes, underscores after
    NFKC.
    """
    if not text:
        return "is required"
    if len(text) > _LONGEST_RAW_NAME:
        return f"must have at most {LONGEST_NAME} characters"
    name = normal_username(text)
    if len(name) > LONGEST_NAME:
        return f"must have at most {LONGEST_NAME} characters"
    if not all(_is_letter_or_digit(character) or character in _PUNCTUATION for character in name):
        return "may hold letters, digits, dots, dashes and underscores only"
    if not _is_letter_or_digit(name[0]):
        return "must start with a letter or a digit"
    return None


def _is_letter_or_digit(character: str) -> bool:
    category = unicodedata.category(character)
    return (category[0] == "L" or category == "Nd") and character not in _INVISIBLE_LETTERS
