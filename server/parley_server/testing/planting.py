"""Planting bugs in a node that is to be tested: replacing parts of it by others."""

from __future__ import annotations

from typing import Any


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
