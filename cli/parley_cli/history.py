"""`parley history`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from parley_cli.arguments import JsonOption, NumbersOption, TargetArgument
from parley_cli.conversation import open_target
from parley_cli.event_view import event_fields, event_lines
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import examples
from parley_cli.names import Names
from parley_cli.output import print_json, print_lines
from parley_cli.render import clock_text, json_line
from parley_cli.session import run, signed_in

_DEFAULT_LIMIT = 50


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "parley history @bob",
            "parley history '#trip' --limit 200 | less",
            "parley history @bob --numbers",
            "parley history @bob --json --limit 1000 > bob.jsonl",
        )
    )(history)


def history(
    context: typer.Context,
    target: TargetArgument,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="At most this many.")
    ] = _DEFAULT_LIMIT,
    before_seq: Annotated[
        int,
        typer.Option(
            "--before-seq", metavar="SEQ", min=0, help="Only messages before this seq. 0: the newest."
        ),
    ] = 0,
    numbers: NumbersOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the newest messages of a conversation.

    As it was said: the oldest at the top, the newest at the bottom. Behind the author stands, in brackets,
    what the message answers and what became of it: edited, pinned, reactions."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        async with signed_in(options) as client:
            channel = await open_target(client, target)
            names = Names(client)
            now_ms = time.time_ns() // 1_000_000
            # The server lists the newest first; people read a conversation from the top.
            newest_first = [message async for message in channel.history(limit, before_seq)]
            await names.learn({message.actor_id for message in newest_first})
            for message in reversed(newest_first):
                if as_json:
                    print_json(json_line(event_fields(message, names)))
                else:
                    clock = clock_text(message.create_time_ms, now_ms, None)
                    lines = event_lines(message, names, clock=clock, label="", direct=False, numbered=numbers)
                    print_lines(lines)

    run(options, work())
