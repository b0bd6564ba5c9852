"""Options and arguments that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

TargetArgument = Annotated[
    str,
    typer.Argument(metavar="TARGET", help="@user, '#title' in quotes, or a channel id.", show_default=False),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]

MessageArgument = Annotated[
    int,
    typer.Argument(
        metavar="SEQ",
        min=1,
        help="Which message: its number in `history --numbers`, `seq` in JSON.",
        show_default=False,
    ),
]

NumbersOption = Annotated[
    bool, typer.Option("--numbers", help="Show each message's seq before its author, for other commands.")
]

PasswordStdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
]
