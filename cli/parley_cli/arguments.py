"""Options and arguments that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

TargetArgument = Annotated[
    str,
    typer.Argument(metavar="TARGET", help="@user, '#title' in quotes, or a channel id.", show_default=False),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]

PasswordStdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
]
