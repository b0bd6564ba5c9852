"""`parley admin …`: what operators do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parley_cli import folder_care
from parley_cli.arguments import JsonOption, PasswordStdinOption
from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import SETTINGS, examples
from parley_cli.neutral import neutral_line
from parley_cli.output import print_json, print_lines
from parley_cli.password import read_password
from parley_cli.render import json_line
from parley_cli.session import run, with_token
from parley_cli.target import parse_user
from parley_runtime.secret_file import SecretFileError, read_secret

_DEFAULT_TOKEN_FILE = Path("parley-data/operator.token")

TokenFileOption = Annotated[
    Path,
    typer.Option(
        "--token-file", metavar="FILE", help="An operator's token. A node makes one in its data folder."
    ),
]
_USER = typer.Argument(metavar="@USER", help="The user.", show_default=False)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    admin = typer.Typer(help="What operators do.", **SETTINGS)
    user = typer.Typer(
        help="Open accounts, suspend them, lift suspensions, reset passwords. Needs an operator's token.",
        **SETTINGS,
    )
    user.command(
        epilog=examples(
            "parley admin user create dave",
            "parley admin user create robot --operator --token-file /srv/parley/operator.token",
        )
    )(create)
    user.command(epilog=examples("parley admin user suspend @mallory"))(suspend)
    user.command(epilog=examples("parley admin user unsuspend @mallory"))(unsuspend)
    user.command(epilog=examples("parley admin user reset-password @dave"))(reset_password)
    admin.add_typer(user, name="user")
    folder_care.register(admin)
    app.add_typer(admin, name="admin")


def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The user name.", show_default=False)],
    display_name: Annotated[
        str, typer.Option("--display-name", metavar="TEXT", help="The name that others may see beside it.")
    ] = "",
    operator: Annotated[bool, typer.Option("--operator", help="Make the new user an operator too.")] = False,
    token_file: TokenFileOption = _DEFAULT_TOKEN_FILE,
    password_stdin: PasswordStdinOption = False,
    as_json: JsonOption = False,
) -> None:
    """Open an account for somebody, also where sign-up is closed. Nobody is logged in by it."""
    options: GlobalOptions = context.obj
    username = parse_user(name)
    token = read_token(token_file)
    password = read_password(from_stdin=password_stdin, twice=True)

    async def work() -> None:
        async with with_token(options, token) as client:
            user = await client.admin.create_user(
                username, password, display_name=display_name, operator=operator
            )
        if as_json:
            print_json(json_line({"user_id": user.user_id, "username": user.username}))
        else:
            print_lines([f"opened an account for {neutral_line(user.username)}"])

    run(options, work())


def suspend(
    context: typer.Context,
    name: Annotated[str, _USER],
    token_file: TokenFileOption = _DEFAULT_TOKEN_FILE,
) -> None:
    """Suspend an account: its sessions end and its log-ins are refused. Nothing it wrote is removed."""
    _suspend(context.obj, name, token_file, lift=False)


def unsuspend(
    context: typer.Context,
    name: Annotated[str, _USER],
    token_file: TokenFileOption = _DEFAULT_TOKEN_FILE,
) -> None:
    """Lift the suspension of an account."""
    _suspend(context.obj, name, token_file, lift=True)


def reset_password(
    context: typer.Context,
    name: Annotated[str, _USER],
    token_file: TokenFileOption = _DEFAULT_TOKEN_FILE,
    password_stdin: PasswordStdinOption = False,
) -> None:
    """Give an account a new password and log out all of its devices. The password is asked for, twice."""
    options: GlobalOptions = context.obj
    username = parse_user(name)
    token = read_token(token_file)
    password = read_password(from_stdin=password_stdin, twice=True)

    async def work() -> None:
        async with with_token(options, token) as client:
            await client.admin.reset_password(f"@{username}", password)
        print_lines([f"{neutral_line(username)} has a new password, and is logged out everywhere"])

    run(options, work())


def _suspend(options: GlobalOptions, name: str, token_file: Path, *, lift: bool) -> None:
    username = parse_user(name)
    token = read_token(token_file)

    async def work() -> None:
        async with with_token(options, token) as client:
            await client.admin.suspend_user(f"@{username}", lift=lift)
        done = "lifted the suspension of" if lift else "suspended"
        print_lines([f"{done} {neutral_line(username)}"])

    run(options, work())


def read_token(path: Path) -> str:
    """The token in `path`. Raises CommandFailure (LOCAL_FILE) when there is none, or others may read it."""
    try:
        content = read_secret(path)
    except SecretFileError as error:
        raise CommandFailure(ExitCode.LOCAL_FILE, str(error)) from error
    token = (content or "").strip()
    if not token or not token.isascii() or not token.isprintable():
        what = f"there is no file {path}" if content is None else f"{path} holds no token"
        raise CommandFailure(
            ExitCode.LOCAL_FILE,
            what,
            "Name the operator.token in the data folder of the node with --token-file",
        )
    return token
