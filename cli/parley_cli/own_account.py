"""`parley password change`, `parley account delete`, `parley export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parley_cli.arguments import PasswordStdinOption
from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import SETTINGS, examples
from parley_cli.neutral import neutral_line
from parley_cli.output import print_lines
from parley_cli.password import read_password, read_passwords
from parley_cli.session import credential_store, run, signed_in


def register(app: typer.Typer) -> None:
    """Add the commands."""
    password = typer.Typer(help="Your password.", **SETTINGS)
    password.callback()(_nothing)
    password.command(
        epilog=examples(
            "parley password change",
            'printf \'%s\\n%s\\n\' "$OLD" "$NEW" | parley password change --password-stdin',
        )
    )(change)
    app.add_typer(password, name="password")
    account = typer.Typer(help="Your account.", **SETTINGS)
    account.callback()(_nothing)
    account.command(epilog=examples("parley account delete --yes"))(delete)
    app.add_typer(account, name="account")
    app.command(epilog=examples("parley export my-data.json"))(export)


def _nothing() -> None:
    """A group of one command stays a group."""


def change(
    context: typer.Context,
    keep_other_devices: Annotated[
        bool, typer.Option("--keep-other-devices", help="Leave your other devices logged in.")
    ] = False,
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin", help="Read the old and the new password from the first two lines of input."
        ),
    ] = False,
) -> None:
    """Change your password. This device stays logged in, the others are logged out."""
    options: GlobalOptions = context.obj
    old, new = read_passwords(from_stdin=password_stdin)

    async def work() -> None:
        async with signed_in(options) as client:
            await client.change_password(old, new, keep_other_devices=keep_other_devices)
        print_lines(["changed the password"])

    run(options, work())


def delete(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Needed: it cannot be taken back.")] = False,
    password_stdin: PasswordStdinOption = False,
) -> None:
    """Delete your account for good, with all that you wrote, and forget the log-in here.

    The password is asked for. Have a copy made by `parley export` first if you want one."""
    options: GlobalOptions = context.obj
    if not yes:
        raise CommandFailure(
            ExitCode.USAGE,
            "deleting the account removes all that you wrote and cannot be taken back",
            "Say --yes to do it",
        )
    password = read_password(from_stdin=password_stdin, twice=False)

    async def work() -> None:
        async with signed_in(options) as client:
            assert client.tokens is not None
            username = client.tokens.username
            await client.delete_account(password)
        store = credential_store()
        with store.locked(options.server, username):
            store.remove(options.server, username)
        print_lines([f"deleted the account {neutral_line(username)} at {options.server}"])

    run(options, work())


def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it. Replaced if it exists.")],
) -> None:
    """Write all that the server keeps of you into one JSON file, readable by you only."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        async with signed_in(options) as client:
            try:
                size_bytes = await client.export_to(file)
            except OSError as error:
                raise CommandFailure(
                    ExitCode.LOCAL_FILE, f"cannot write {file}: {error.strerror}", "Name another file"
                ) from error
        print_lines([f"wrote {neutral_line(str(file))}, {size_bytes:,} bytes"])

    run(options, work())
