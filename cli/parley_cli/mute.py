"""`parley mute` and `parley unmute`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from parley_cli.arguments import TargetArgument
from parley_cli.conversation import open_target
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import examples
from parley_cli.output import print_lines
from parley_cli.session import run, signed_in

_LARGEST_HOURS = 24 * 3660


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=examples("parley mute '#trip'", "parley mute '#trip' --hours 8"))(mute)
    app.command(epilog=examples("parley unmute '#trip'"))(unmute)


def mute(
    context: typer.Context,
    target: TargetArgument,
    hours: Annotated[
        int, typer.Option("--hours", min=0, max=_LARGEST_HOURS, help="For how long; 0: until unmuted.")
    ] = 0,
) -> None:
    """Want no notices of a conversation, on all your devices. Messages come all the same."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        until_ms = time.time_ns() // 1_000_000 + hours * 3_600_000 if hours else None
        async with signed_in(options) as client:
            await (await open_target(client, target)).mute(until_ms)
        print_lines(["muted" if not hours else f"muted for {hours} h"])

    run(options, work())


def unmute(context: typer.Context, target: TargetArgument) -> None:
    """Want notices of a conversation again."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        async with signed_in(options) as client:
            await (await open_target(client, target)).unmute()
        print_lines(["no longer muted"])

    run(options, work())
