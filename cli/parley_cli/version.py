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


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog=examples("parley version", "parley version --json"))
    def version(
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Print the version of this command. Asks no server."""
        versions = {name: _version(name) for name in (_DISTRIBUTION, "grpcio", "protobuf")}
        versions["python"] = platform.python_version()
        if as_json:
            print_json(json_line({"version": versions[_DISTRIBUTION], "parts": versions}))
        else:
            others = ", ".join(f"{name} {text}" for name, text in versions.items() if name != _DISTRIBUTION)
            print_lines([f"parley {versions[_DISTRIBUTION]} ({others})"])


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
