"""Planting bugs in a node that is to be tested: replacing parts of it by others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

CHEAP_PASSWORDS: Final = Path(__file__).with_name("cheap_passwords.py")
"""A plant that is no bug: passwords cost next to nothing, for tests that make many users."""


def plant(where: Any, **replacements: Any) -> None:
    """Give a module or a class other attributes, for as long as the process lives.

    Raises AttributeError, having replaced nothing, when one of them is not there: code has moved on, and a
    bug that nobody can meet is not planted.
    """
    for name in replacements:
        if not hasattr(where, name):
            raise AttributeError(f"{where!r} has no {name!r} to replace: mend what plants this")
    for name, replacement in replacements.items():
        setattr(where, name, replacement)
