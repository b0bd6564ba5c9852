"""`parley send`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import parley
from parley_cli.arguments import JsonOption, TargetArgument
from parley_cli.conversation import open_target
from parley_cli.failure import CommandFailure, failure_of
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import examples
from parley_cli.message_text import read_text, text_of_argument
from parley_cli.output import note, print_json, print_lines
from parley_cli.render import json_line
from parley_cli.session import run, signed_in
from parley_cli.target import parse_target, parse_user

_OUTCOME_UNKNOWN = ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "parley send @bob 'Hello!'",
            "parley send '#trip' '내일 아침 9시에 만나요 🚄'",
            "parley send @bob < letter.txt",
            "uptime | parley send @bob",
            "parley send @bob -- '-1 is negative'",
            "parley send '#trip' --reply-to 12 '좋아요'",
            "parley send '#trip' --mention @bob 'Are you there?'",
        )
    )(send)


def send(
    context: typer.Context,
    target: TargetArgument,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The message. Left out: all of standard input.")
    ] = None,
    reply_to: Annotated[
        int | None, typer.Option("--reply-to", metavar="SEQ", min=1, help="Answer this message.")
    ] = None,
    thread: Annotated[
        int | None,
        typer.Option("--thread", metavar="SEQ", min=1, help="Write into this message's thread."),
    ] = None,
    mention: Annotated[
        list[str] | None,
        typer.Option("--mention", metavar="@USER", help="Call this member; may be given several times."),
    ] = None,
    mention_all: Annotated[
        bool, typer.Option("--mention-all", help="Call everybody. In a group it needs the role admin.")
    ] = False,
    client_message_id: Annotated[
        str | None,
        typer.Option(
            "--client-message-id",
            metavar="ID",
            help="The message's own id, a UUIDv7. To send again what may have been written, give the id that "
            "was said then: it is written once.",
            show_default="a new one",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a message and wait until it is safe on disk.

    Standard input is sent byte for byte, a line feed at its end included. It must be UTF-8.
    When the answer is lost the command asks again with the same message id, so a message is written once. If
    it gives up, it says the id with which you can send it again.
    """
    options: GlobalOptions = context.obj
    parse_target(target)  # A wrong target is said before anybody types a long message.
    called = [f"@{parse_user(name)}" for name in mention or []]
    if text is None and sys.stdin.isatty():
        note("Type the message. Ctrl-D on a new line sends it, Ctrl-C gives up.")
    message = read_text(sys.stdin.buffer) if text is None else text_of_argument(text)

    async def work() -> None:
        async with signed_in(options) as client:
            channel = await open_target(client, target, begin=True)
            message_id = client_message_id or parley.new_id()
            try:
                sent = await channel.send(
                    message,
                    mentions=called,
                    mention_all=mention_all,
                    reply_to=reply_to or 0,
                    thread=thread or 0,
                    client_message_id=message_id,
                )
            except parley.ParleyError as error:
                raise not_sent(error, options.server, message_id) from error
        if as_json:
            fields = {
                "channel_id": channel.id,
                "seq": sent.seq,
                "message_no": sent.message_no,
                "create_time_ms": sent.create_time_ms,
                "client_message_id": sent.client_message_id,
                "duplicate": sent.duplicate,
            }
            print_json(json_line(fields))
        else:
            print_lines([f"sent, number {sent.message_no} in this conversation"])

    run(options, work())


def not_sent(error: parley.ParleyError, server: str, message_id: str) -> CommandFailure:
    """What the person is told. Where the message may have been written all the same, how to be sure."""
    failure = failure_of(error, server)
    if error.code.name not in _OUTCOME_UNKNOWN:
        return failure
    again = (
        f"Send the same again with --client-message-id {message_id}: "
        "it is written once, whatever became of this attempt"
    )
    first = "" if error.reason == "STORE_UNAVAILABLE" else f"{failure.advice}. "
    return CommandFailure(failure.exit_code, failure.what, first + again)
