"""`parley contact …`, `parley block`, `unblock`, `blocked`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

import typer

import parley
from parley_cli.arguments import JsonOption
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import SETTINGS, examples
from parley_cli.neutral import neutral_line
from parley_cli.output import print_json, print_lines
from parley_cli.render import json_line, table_lines
from parley_cli.session import run, signed_in
from parley_cli.target import parse_user

_USER = typer.Argument(metavar="@USER", help="The user.", show_default=False)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    contact = typer.Typer(help="Keep users at hand. Nobody else sees whom.", **SETTINGS)
    contact.command(epilog=examples("parley contact add @bob"))(add)
    contact.command(epilog=examples("parley contact remove @bob"))(remove)
    contact.command(name="list", epilog=examples("parley contact list", "parley contact list --json"))(
        list_contacts
    )
    app.add_typer(contact, name="contact")
    app.command(epilog=examples("parley block @mallory"))(block)
    app.command(epilog=examples("parley unblock @mallory"))(unblock)
    app.command(epilog=examples("parley blocked", "parley blocked --json"))(blocked)


def add(context: typer.Context, user: Annotated[str, _USER]) -> None:
    """Add a user to your contacts. The user is not told."""
    _do(context.obj, user, "added {} to your contacts", lambda client, name: client.add_contact(name))


def remove(context: typer.Context, user: Annotated[str, _USER]) -> None:
    """Remove a user from your contacts."""
    _do(context.obj, user, "removed {} from your contacts", lambda client, name: client.remove_contact(name))


def list_contacts(context: typer.Context, as_json: JsonOption = False) -> None:
    """List your contacts by user name."""
    _list(context.obj, as_json, lambda client: client.contacts())


def block(context: typer.Context, user: Annotated[str, _USER]) -> None:
    """Block a user: neither of you can write to the other directly, or add the other to a group.

    The user is not told. Groups that you both are in go on."""
    _do(context.obj, user, "blocked {}", lambda client, name: client.block(name))


def unblock(context: typer.Context, user: Annotated[str, _USER]) -> None:
    """End a block. The user does not become a contact again."""
    _do(context.obj, user, "unblocked {}", lambda client, name: client.unblock(name))


def blocked(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the users whom you blocked, by user name."""
    _list(context.obj, as_json, lambda client: client.blocked())


def _do(
    options: GlobalOptions, user: str, said: str, make: Callable[[parley.Client, str], Awaitable[None]]
) -> None:
    name = parse_user(user)

    async def work() -> None:
        async with signed_in(options) as client:
            await make(client, f"@{name}")
        print_lines([said.format(neutral_line(name))])

    run(options, work())


def _list(
    options: GlobalOptions,
    as_json: bool,
    read: Callable[[parley.Client], AsyncIterator[parley.Contact] | AsyncIterator[parley.BlockedUser]],
) -> None:
    async def work() -> None:
        rows: list[list[str]] = []
        async with signed_in(options) as client:
            async for found in read(client):
                user = found.user
                if as_json:
                    fields = {
                        "user_id": user.user_id,
                        "username": user.username,
                        "display_name": user.display_name,
                        "create_time_ms": found.create_time_ms,
                    }
                    print_json(json_line(fields))
                else:
                    rows.append([neutral_line(f"@{user.username}"), neutral_line(user.display_name)])
        if not as_json:
            print_lines(table_lines(["USER", "NAME"], rows))

    run(options, work())
