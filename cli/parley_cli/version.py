"""`parley version`."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Annotated

import typer

from parley_cli.help_text import examples
from parley_cli.output import print_json, print_lines
from parley_cli.render import json_line

_DISTRIBUTION = "parley-chat"
_PARTS = ("grpcio", "protobuf")


def version_text(distribution: str = _DISTRIBUTION) -> str:
    """The version of an installed distribution, "unpackaged" where it runs from its sources."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unpackaged"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog=examples("parley version", "parley version --json"))
    def version(
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Print the version of this command. Asks no server."""
        parts = {"python": platform.python_version()} | {name: version_text(name) for name in _PARTS}
        if as_json:
            print_json(json_line({"version": version_text(), **parts}))
        else:
            print_lines(
                [f"parley {version_text()} ({', '.join(f'{name} {text}' for name, text in parts.items())})"]
            )
