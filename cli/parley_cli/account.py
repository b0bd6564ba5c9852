"""`parley signup`, `login`, `whoami`, `logout`, `devices`."""

from __future__ import annotations

import platform
import time
from typing import Annotated

import typer

import parley
from parley_cli.arguments import JsonOption, PasswordStdinOption
from parley_cli.credentials import LogIn, folded
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import examples
from parley_cli.neutral import neutral_line
from parley_cli.output import note, print_json, print_lines
from parley_cli.password import read_password
from parley_cli.render import clock_text, json_line, table_lines
from parley_cli.session import credential_store, run, signed_in, tls_of
from parley_cli.target import parse_user

_NAME_ARGUMENT = typer.Argument(metavar="NAME", help="The user name.", show_default=False)
_DEVICE_OPTION = typer.Option(
    "--device-name",
    metavar="TEXT",
    help="How this log-in is called in `parley devices`.",
    show_default="this host",
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog=examples(
            "parley signup alice",
            "parley signup 지민 --display-name '김지민'",
            "printf '%s' \"$PASSWORD\" | parley signup alice --password-stdin",
        )
    )(signup)
    app.command(
        epilog=examples("parley login alice", "parley --server chat.example:50051 --tls login alice")
    )(login)
    app.command(epilog=examples("parley whoami", "parley --as bob whoami --json"))(whoami)
    app.command(epilog=examples("parley logout", "parley --as bob logout"))(logout)
    app.command(epilog=examples("parley devices", "parley devices --revoke DEVICE_ID"))(devices)


def signup(
    context: typer.Context,
    name: Annotated[str, _NAME_ARGUMENT],
    display_name: Annotated[
        str, typer.Option("--display-name", metavar="TEXT", help="The name that others may see beside it.")
    ] = "",
    device_name: Annotated[str | None, _DEVICE_OPTION] = None,
    password_stdin: PasswordStdinOption = False,
) -> None:
    """Open an account and log in here. The password is asked for, twice, without echo."""
    options: GlobalOptions = context.obj
    username = parse_user(name)
    tls = tls_of(tls=options.tls, tls_ca=options.tls_ca)
    password = read_password(from_stdin=password_stdin, twice=True)

    async def work() -> None:
        tokens = await parley.sign_up(
            options.server,
            username,
            password,
            display_name=display_name,
            device_name=_device_name(device_name),
            tls=tls,
        )
        _store(options, tokens)
        print_lines([f"signed up and logged in as {neutral_line(tokens.username)} at {options.server}"])

    run(options, work())


def login(
    context: typer.Context,
    name: Annotated[str, _NAME_ARGUMENT],
    device_name: Annotated[str | None, _DEVICE_OPTION] = None,
    password_stdin: PasswordStdinOption = False,
) -> None:
    """Log in here with an account that exists. The password is asked for without echo.

    A log-in of the same user that is stored here already is replaced. Programs that still run with it go on;
    `parley devices` lists it and can log it out.
    """
    options: GlobalOptions = context.obj
    username = parse_user(name)
    tls = tls_of(tls=options.tls, tls_ca=options.tls_ca)
    password = read_password(from_stdin=password_stdin, twice=False)

    async def work() -> None:
        tokens = await parley.log_in(
            options.server, username, password, device_name=_device_name(device_name), tls=tls
        )
        _store(options, tokens)
        print_lines([f"logged in as {neutral_line(tokens.username)} at {options.server}"])

    run(options, work())


def whoami(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show as whom the commands speak."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        async with signed_in(options) as client:
            user = await client.user("me")
            device_id = client.tokens.device_id if client.tokens else ""
        if as_json:
            fields = {
                "server": options.server,
                "user_id": user.user_id,
                "username": user.username,
                "display_name": user.display_name,
                "device_id": device_id,
            }
            print_json(json_line(fields))
        else:
            shown = f" ({neutral_line(user.display_name)})" if user.display_name else ""
            print_lines([f"{neutral_line(user.username)}{shown} at {options.server}, user id {user.user_id}"])

    run(options, work())


def logout(context: typer.Context) -> None:
    """Log out at the server and forget the log-in here."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        async with signed_in(options) as client:
            tokens = client.tokens
            assert tokens is not None
            username = tokens.username
            try:
                await client.log_out()
            except parley.ParleyError as error:
                # Whom the server does not know any more is logged out already.
                if error.advice is not parley.Advice.REAUTHENTICATE and error.reason != "ACCOUNT_SUSPENDED":
                    raise
        store = credential_store()
        with store.locked(options.server, username):
            store.remove(options.server, username)
        print_lines([f"logged out {neutral_line(username)} at {options.server}"])

    run(options, work())


def devices(
    context: typer.Context,
    revoke: Annotated[
        str | None,
        typer.Option("--revoke", metavar="DEVICE_ID", help="Log this device out instead of listing."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List where you are logged in, or log one device out."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        async with signed_in(options) as client:
            if revoke is not None:
                await client.revoke_device(revoke)
                note(f"logged out device {neutral_line(revoke)}")
                return
            found = [device async for device in client.devices()]
        if as_json:
            for device in found:
                print_json(
                    json_line(
                        {
                            "device_id": device.device_id,
                            "device_name": device.device_name,
                            "create_time_ms": device.create_time_ms,
                            "refresh_time_ms": device.refresh_time_ms,
                            "current": device.current,
                        }
                    )
                )
            return
        now_ms = time.time_ns() // 1_000_000
        rows = [
            [
                "*" if device.current else "",
                device.device_id,
                neutral_line(device.device_name),
                clock_text(device.create_time_ms, now_ms, None),
                clock_text(device.refresh_time_ms, now_ms, None),
            ]
            for device in found
        ]
        print_lines(table_lines(["", "DEVICE", "NAME", "LOGGED IN", "RENEWED"], rows))

    run(options, work())


def _device_name(given: str | None) -> str:
    return platform.node()[:64] if given is None else given


def _store(options: GlobalOptions, tokens: parley.Tokens) -> None:
    store = credential_store()
    tls_ca = str(options.tls_ca.absolute()) if options.tls_ca is not None else None
    with store.locked(options.server, tokens.username):
        store.save(
            LogIn(
                options.server,
                tokens.username,
                tokens.to_json(),
                tls=options.tls or tls_ca is not None,
                tls_ca=tls_ca,
            )
        )
    others = [
        other.username
        for other in store.log_ins(options.server)
        if folded(other.username) != folded(tokens.username)
    ]
    if others:
        note(
            f"Several log-ins are stored here now. Say which one speaks: --as {neutral_line(tokens.username)}"
        )
