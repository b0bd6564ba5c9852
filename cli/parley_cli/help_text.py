"""How help looks: plain text, the same on a terminal, in a pipe and in the documentation."""

from __future__ import annotations

from typing import Any

SETTINGS: dict[str, Any] = {
    "rich_markup_mode": None,
    "add_completion": False,
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 100},
}
"""What every typer application of the command is made with."""


def examples(*lines: str) -> str:
    """The end of a command's help: what a person would type, one line each."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines) + "\n"
