"""docs/design/wire.md names every limit, and only tests and files that exist."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import parley_wire
from parley_wire.limits import Limits
from parley_wire.options import ServerOptions

TESTS = Path(__file__).parent
DOCUMENT = (TESTS.parent.parent / "docs" / "design" / "wire.md").read_text(encoding="utf-8")
PACKAGE = Path(parley_wire.__file__).parent


def test_every_limit_is_in_the_tables() -> None:
    """And nothing else is."""
    first, second = re.findall(r"\| limit \|.*?\n\n", DOCUMENT + "\n\n", re.DOTALL)
    for table, settings in ((first, Limits), (second, ServerOptions)):
        rows = table.strip().splitlines()
        named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
        assert named == {field.name for field in dataclasses.fields(settings)} - {"limits"}


def test_every_test_that_is_named_exists() -> None:
    """A demand is shown by something."""
    written = "".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT))
    assert len(named) > 60
    assert {name for name in named if f"def {name}(" not in written} == set()


def test_every_file_is_in_the_tour() -> None:
    """And no other."""
    named = set(re.findall(r"`(\w+\.py)`", DOCUMENT))
    assert named == {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
