"""The `parley` command: what it is made of, and where a failure becomes a line and an exit code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from parley_cli import (
    account,
    admin,
    channels,
    chat,
    group,
    history,
    invite,
    message,
    mute,
    own_account,
    people,
    read,
    send,
    tail,
    up,
    version,
)
from parley_cli.exit_codes import ExitCode, exit_code_lines
from parley_cli.failure import CommandFailure
from parley_cli.global_options import DEFAULT_SERVER, GlobalOptions, check_tls, hoist, parse_server
from parley_cli.help_text import SETTINGS, examples
from parley_cli.output import ReaderGone, discard_output, note

_EPILOG = (
    examples(
        "parley up                                start a server on this machine",
        "parley signup alice                      open an account and log in",
        "parley --as alice tail                   see what comes in",
        "parley --as alice send @bob 'hello'      write to bob",
        "parley --server chat.example:50051 --tls login alice",
    )
    + "\n\b\nExit codes:\n"
    + "\n".join(f"  {line}" for line in exit_code_lines())
)

app = typer.Typer(name="parley", **SETTINGS)


@app.callback(invoke_without_command=True, epilog=_EPILOG)
def parley(
    context: typer.Context,
    server: Annotated[
        str,
        typer.Option(
            "--server",
            envvar="PARLEY_SERVER",
            metavar="HOST:PORT",
            help="The server to talk to, or unix:/PATH for one that listens on a socket of this machine.",
        ),
    ] = DEFAULT_SERVER,
    as_name: Annotated[
        str | None,
        typer.Option(
            "--as", envvar="PARLEY_AS", metavar="NAME", help="Which of the log-ins stored here to use."
        ),
    ] = None,
    tls: Annotated[
        bool,
        typer.Option("--tls", help="Use TLS and trust the system's certificates. A log-in remembers it."),
    ] = False,
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            "--tls-ca", metavar="FILE", help="Use TLS and trust the certificates in this PEM file instead."
        ),
    ] = None,
) -> None:
    """Parley: a self-hosted chat server, and a client for the terminal.

    The four options below may stand anywhere on the line. Log-ins are kept in ~/.config/parley
    (PARLEY_HOME names another folder).
    """
    address = parse_server(server)
    check_tls(address, tls=tls or tls_ca is not None)
    context.obj = GlobalOptions(server=address, as_name=as_name, tls=tls, tls_ca=tls_ca)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for module in (
    up,
    account,
    chat,
    send,
    tail,
    history,
    channels,
    message,
    read,
    mute,
    group,
    invite,
    people,
    own_account,
    admin,
    version,
):
    module.register(app)


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit code. Never raises: failures are one line on stderr."""
    try:
        result = app(hoist(arguments), prog_name="parley", standalone_mode=False)
        return int(result or 0)
    except ReaderGone:
        discard_output()
        return ExitCode.BROKEN_PIPE
    except CommandFailure as failure:
        note(failure.line())
        return failure.exit_code
    except typer.TyperException as error:
        note(CommandFailure(ExitCode.USAGE, error.format_message(), _usage_advice(error)).line())
        return ExitCode.USAGE
    except typer.Abort:
        note(CommandFailure(ExitCode.USAGE, "the input ended before it was complete", "Try again").line())
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit:
        # typer leaves this way when nobody reads its help any more.
        discard_output()
        return ExitCode.BROKEN_PIPE
    except Exception as error:
        if os.environ.get("PARLEY_TRACEBACK"):
            raise
        what = f"a defect of this command: {type(error).__name__}: {error}"
        note(
            CommandFailure(ExitCode.DEFECT, what, "Run it again with PARLEY_TRACEBACK=1 and report it").line()
        )
        return ExitCode.DEFECT


def _usage_advice(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "parley"
    if path == "parley send" and "extra argument" in error.format_message():
        return f"Put a text of several words in quotes. See `{path} --help`"
    if "TARGET" in error.format_message():
        return f"Write @user, '#title' in quotes, or a channel id. See `{path} --help`"
    return f"See `{path} --help`"
