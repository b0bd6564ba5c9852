"""`parley up` and `parley server`: a node in this process."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.help_text import examples
from parley_cli.next_steps import next_steps, program_name
from parley_cli.output import print_lines

if TYPE_CHECKING:
    from parley_runtime.settings import Settings
    from parley_server.node import RunningNode

_ListenOption = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help="Where to listen. Port 0: any free one. unix:/PATH: a socket on this machine.",
        show_default="127.0.0.1:50051, or as configured",
    ),
]
_DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FOLDER",
        help="The folder that keeps everything.",
        show_default="./parley-data, or as configured",
    ),
]
_ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML. See docs/cli.md.")
]

_QUIET_LOGS = {"PARLEY_LOG_LEVEL": "warning", "PARLEY_LOG_FORMAT": "text"}
"""What `up` does with logs unless a file or the environment says otherwise: a person reads this terminal."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog=examples(
            "parley up",
            "parley up --listen 0.0.0.0:50051 --data /srv/parley",
            "parley up --config parley.toml",
        )
    )(up)
    app.command(
        epilog=examples("parley server --config /etc/parley.toml", "parley server --listen 0.0.0.0:50051")
    )(server)


def up(listen: _ListenOption = None, data: _DataOption = None, config: _ConfigOption = None) -> None:
    """Start a server on this machine and say what to type next.

    One process holds everything; no other service is needed.

    Ctrl-C and SIGTERM stop it within two seconds, a call that takes no cancellation a few seconds later: exit
    code 130 after Ctrl-C, 0 after SIGTERM.
    """
    environ = dict(os.environ) if config is not None else _QUIET_LOGS | dict(os.environ)
    settings = _settings(listen, data, config, environ)

    def announce(node: RunningNode) -> None:
        program = program_name(sys.argv[0], os.environ.get("PATH"), Path.cwd(), sys.executable)
        steps = next_steps(
            program=program,
            address=node.address,
            data=str(node.data),
            tls=bool(settings.tls.certificate_file),
        )
        print_lines(steps)

    _serve(settings, announce)


def server(listen: _ListenOption = None, data: _DataOption = None, config: _ConfigOption = None) -> None:
    """Start a server for operators, with structured logs.

    The same as `up` without the words for newcomers. Logs go to standard error.

    Ctrl-C and SIGTERM stop it within two seconds, a call that takes no cancellation a few seconds later: exit
    code 130 after Ctrl-C, 0 after SIGTERM.
    """
    _serve(_settings(listen, data, config, os.environ), lambda node: None)


def _settings(
    listen: str | None, data: Path | None, config: Path | None, environ: Mapping[str, str]
) -> Settings:
    try:
        from parley_runtime.settings import SettingsError, load_settings
    except ModuleNotFoundError as error:
        raise without_server(error) from error
    overrides: dict[str, object] = {}
    if listen is not None:
        overrides["listen"] = listen
    if data is not None:
        overrides["data"] = str(data)
    try:
        return load_settings(config, environ, overrides)
    except SettingsError as error:
        raise CommandFailure(ExitCode.BAD_SETTINGS, str(error), "See docs/cli.md for the settings") from error


def _serve(settings: Settings, announce: Callable[[RunningNode], None]) -> None:
    """Run the node until a signal. Raises CommandFailure when it cannot start, typer.Exit after Ctrl-C."""
    try:
        from parley_runtime.logs import configure_logs
        from parley_runtime.settings import AddressUnusable, SettingsError
        from parley_server import node, serving
    except ModuleNotFoundError as error:
        raise without_server(error) from error
    configure_logs(settings.log_level, settings.log_format)
    try:
        ended_by = serving.serve(settings, announce=announce)
    except AddressUnusable as error:
        raise CommandFailure(ExitCode.CANNOT_LISTEN, str(error)) from error
    except SettingsError as error:
        raise CommandFailure(ExitCode.BAD_SETTINGS, str(error)) from error
    except node.DataFolderInUse as error:
        raise CommandFailure(ExitCode.DATA_IN_USE, str(error)) from error
    except node.DATA_UNUSABLE as error:
        said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise CommandFailure(
            ExitCode.LOCAL_FILE,
            f"cannot use the data folder: {said}",
            "Mend it, or name another folder with --data",
        ) from error
    if ended_by == signal.SIGINT:
        raise typer.Exit(ExitCode.INTERRUPTED)


def without_server(error: ModuleNotFoundError) -> CommandFailure:
    """The failure of a command that needs the server where it is not installed."""
    return CommandFailure(
        ExitCode.USAGE,
        f"this installation holds no server ({error.name} is missing)",
        "Install it with `pip install 'parley-chat[server,cli]'`",
    )
