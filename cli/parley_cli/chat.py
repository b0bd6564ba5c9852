"""`parley chat`."""

from __future__ import annotations

import dataclasses
import sys

import typer

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import examples


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples("parley chat", "parley --as bob chat", "parley --server chat.example:50051 chat")
    )(chat)


def chat(context: typer.Context) -> None:
    """Chat in a window of the terminal: conversations, messages, threads, reactions, groups.

    F1 shows the keys, Ctrl-Q leaves. With several log-ins and no --as the first one is used; F7 switches.
    """
    options: GlobalOptions = context.obj
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandFailure(
            ExitCode.USAGE,
            "`parley chat` needs a terminal",
            "In a script use `parley tail`, `parley send` and `parley history`",
        )
    # Heavy, and of no use to any other command.
    from parley_cli.credentials import choose
    from parley_cli.session import credential_store
    from parley_cli.tui.app import ChatApp
    from parley_cli.tui.session import ServerSession

    log_ins = credential_store().log_ins(options.server)
    first = options.as_name or (log_ins[0].username if log_ins else None)
    log_in = choose(log_ins, options.server, first)
    app = ChatApp(dataclasses.replace(options, as_name=log_in.username), log_in, ServerSession)
    app.run()
    if app.return_code:
        raise typer.Exit(app.return_code)
