"""The documentation of the command line says what the command line says."""

from __future__ import annotations

from pathlib import Path

from parley_cli.exit_codes import MEANINGS, ExitCode
from parley_cli.reference import reference

_PAGE = Path(__file__).resolve().parents[3] / "docs" / "cli.md"


def test_the_page_is_fresh() -> None:
    """Planted: an option renamed without a new page was caught here."""
    assert _PAGE.read_text(encoding="utf-8") == reference(), (
        "docs/cli.md is out of date: python -m parley_cli.reference > docs/cli.md"
    )


def test_every_exit_code_is_documented_in_the_page_and_in_help() -> None:
    assert set(MEANINGS) == set(ExitCode)
    page = reference()
    assert all(f"{code.value:>3}  {meaning}" in page for code, meaning in MEANINGS.items())


def test_every_command_has_examples() -> None:
    for section in reference().split("\n## parley")[1:]:
        text = section.partition("```text")[2].partition("```")[0]
        assert "Examples:" in text or "Commands:" in text, section.splitlines()[0]
