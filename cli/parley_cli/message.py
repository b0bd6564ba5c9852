"""`parley edit`, `delete`, `react`, `unreact`, `pin`, `unpin`, `pins`, `thread`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

import parley
from parley_cli.arguments import JsonOption, MessageArgument, TargetArgument
from parley_cli.conversation import open_target
from parley_cli.event_view import event_fields, event_lines
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import examples
from parley_cli.message_text import text_of_argument
from parley_cli.names import Names
from parley_cli.neutral import neutral_line
from parley_cli.output import print_json, print_lines
from parley_cli.render import clock_text, json_line
from parley_cli.session import run, signed_in
from parley_cli.target import parse_target

_EMOJI = typer.Argument(metavar="EMOJI", help="As 👍.", show_default=False)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=examples("parley edit @bob 12 'What I meant to say'"))(edit)
    app.command(epilog=examples("parley delete @bob 12", "parley delete '#trip' 40"))(delete)
    app.command(epilog=examples("parley react @bob 12 👍"))(react)
    app.command(epilog=examples("parley unreact @bob 12 👍"))(unreact)
    app.command(epilog=examples("parley pin '#trip' 12"))(pin)
    app.command(epilog=examples("parley unpin '#trip' 12"))(unpin)
    app.command(epilog=examples("parley pins '#trip'", "parley pins '#trip' --json"))(pins)
    app.command(
        epilog=examples("parley thread '#trip' 12", "parley send '#trip' --thread 12 'And I bring tea'")
    )(thread)


def edit(
    context: typer.Context,
    target: TargetArgument,
    seq: MessageArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The new text.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Replace the text of your own message. Nobody is shown the old one any more."""
    new_text = text_of_argument(text)
    _change(
        context.obj, target, as_json, f"edited message {seq}", lambda channel: channel.edit(seq, new_text)
    )


def delete(
    context: typer.Context, target: TargetArgument, seq: MessageArgument, as_json: JsonOption = False
) -> None:
    """Delete your own message, or with the role admin anybody's in a group, for good.

    Its text is shown to nobody any more and goes from the server's files."""
    _change(context.obj, target, as_json, f"deleted message {seq}", lambda channel: channel.delete(seq))


def react(
    context: typer.Context,
    target: TargetArgument,
    seq: MessageArgument,
    emoji: Annotated[str, _EMOJI],
    as_json: JsonOption = False,
) -> None:
    """Put an emoji on a message."""
    said = f"put {neutral_line(emoji)} on message {seq}"
    _change(context.obj, target, as_json, said, lambda channel: channel.react(seq, emoji))


def unreact(
    context: typer.Context,
    target: TargetArgument,
    seq: MessageArgument,
    emoji: Annotated[str, _EMOJI],
    as_json: JsonOption = False,
) -> None:
    """Take your emoji off a message."""
    said = f"took {neutral_line(emoji)} off message {seq}"
    _change(context.obj, target, as_json, said, lambda channel: channel.unreact(seq, emoji))


def pin(
    context: typer.Context, target: TargetArgument, seq: MessageArgument, as_json: JsonOption = False
) -> None:
    """Pin a message. In a group it needs the role admin."""
    _change(context.obj, target, as_json, f"pinned message {seq}", lambda channel: channel.pin(seq))


def unpin(
    context: typer.Context, target: TargetArgument, seq: MessageArgument, as_json: JsonOption = False
) -> None:
    """Take a pin away. In a group it needs the role admin."""
    _change(context.obj, target, as_json, f"unpinned message {seq}", lambda channel: channel.unpin(seq))


def pins(context: typer.Context, target: TargetArgument, as_json: JsonOption = False) -> None:
    """Show the pinned messages, the newest pin first."""
    _list(context.obj, target, as_json, lambda channel: channel.pinned())


def thread(
    context: typer.Context,
    target: TargetArgument,
    seq: MessageArgument,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="At most this many of the newest.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show a message and what was written in its thread, the oldest at the top."""

    async def read(channel: parley.Channel) -> list[parley.MessageEvent]:
        root = await channel.message(seq)
        return [root, *reversed([message async for message in channel.thread(seq, limit)])]

    _list(context.obj, target, as_json, read)


def _change(
    options: GlobalOptions,
    target: str,
    as_json: bool,
    said: str,
    make: Callable[[parley.Channel], Awaitable[parley.Change]],
) -> None:
    parse_target(target)

    async def work() -> None:
        async with signed_in(options) as client:
            channel = await open_target(client, target)
            change = await make(channel)
        if as_json:
            fields = {
                "channel_id": channel.id,
                "seq": change.seq,
                "create_time_ms": change.create_time_ms,
                "client_message_id": change.client_message_id,
                "duplicate": change.duplicate,
            }
            print_json(json_line(fields))
        else:
            print_lines([said])

    run(options, work())


def _list(
    options: GlobalOptions,
    target: str,
    as_json: bool,
    read: Callable[[parley.Channel], Awaitable[list[parley.MessageEvent]]],
) -> None:
    parse_target(target)

    async def work() -> None:
        async with signed_in(options) as client:
            names = Names(client)
            messages = await read(await open_target(client, target))
            await names.learn({message.actor_id for message in messages})
        now_ms = time.time_ns() // 1_000_000
        for message in messages:
            if as_json:
                print_json(json_line(event_fields(message, names)))
            else:
                clock = clock_text(message.create_time_ms, now_ms, None)
                print_lines(event_lines(message, names, clock=clock, label="", direct=False, numbered=True))

    run(options, work())
