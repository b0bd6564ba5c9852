"""`parley read`."""

from __future__ import annotations

import typer

from parley_cli.arguments import TargetArgument
from parley_cli.conversation import open_target
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import examples
from parley_cli.output import print_lines
from parley_cli.session import run, signed_in


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=examples("parley read @bob", "parley read '#trip'"))(read)


def read(context: typer.Context, target: TargetArgument) -> None:
    """Mark a conversation as read, for all your devices."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        async with signed_in(options) as client:
            channel = await open_target(client, target)
            info = await channel.info()
            position = await channel.mark_read(info.head_seq)
        print_lines([f"read up to message {position.read_message_no}"])

    run(options, work())
