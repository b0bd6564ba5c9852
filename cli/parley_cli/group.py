"""`parley group …`."""

from __future__ import annotations

from typing import Annotated

import typer

from parley_cli import group_rules
from parley_cli.arguments import JsonOption, TargetArgument
from parley_cli.conversation import open_target
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import SETTINGS, examples
from parley_cli.names import Names
from parley_cli.neutral import neutral_line
from parley_cli.output import print_json, print_lines
from parley_cli.render import json_line, table_lines
from parley_cli.session import run, signed_in
from parley_cli.target import parse_user

_USERS_HELP = "Users, as @name."
_USERS = typer.Argument(metavar="@USER", help=_USERS_HELP, show_default=False)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Make groups and manage who is in them.", **SETTINGS)
    group.command(
        epilog=examples(
            "parley group create trip @bob @carol", "parley group create '제주 여행' --history-from-start"
        )
    )(create)
    group.command(epilog=examples("parley group add '#trip' @dave"))(add)
    group.command(epilog=examples("parley group remove '#trip' @dave"))(remove)
    group.command(epilog=examples("parley group leave '#trip'"))(leave)
    group.command(epilog=examples("parley group members '#trip'", "parley group members '#trip' --json"))(
        members
    )
    group_rules.register(group)
    app.add_typer(group, name="group")


def create(
    context: typer.Context,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="1 to 128 letters.", show_default=False)],
    users: Annotated[list[str] | None, typer.Argument(metavar="@USER", help=_USERS_HELP)] = None,
    history_from_start: Annotated[
        bool, typer.Option("--history-from-start", help="Whoever joins later may read everything.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a group with you as its owner."""
    options: GlobalOptions = context.obj
    invited = _users(users or [])

    async def work() -> None:
        async with signed_in(options) as client:
            channel = await client.create_group(
                title.removeprefix("#"), invited, history_from_start=history_from_start
            )
        if as_json:
            print_json(json_line({"channel_id": channel.id}))
        else:
            shown = neutral_line(title.removeprefix("#"))
            print_lines([f"made the group #{shown}, channel id {channel.id}"])

    run(options, work())


def add(context: typer.Context, target: TargetArgument, users: Annotated[list[str], _USERS]) -> None:
    """Add users to a group, all or none. Needs the role admin or owner."""
    options: GlobalOptions = context.obj
    added = _users(users)

    async def work() -> None:
        async with signed_in(options) as client:
            info = await (await open_target(client, target)).add(added)
        print_lines([f"#{neutral_line(info.title)} has {info.member_count} members now"])

    run(options, work())


def remove(context: typer.Context, target: TargetArgument, users: Annotated[list[str], _USERS]) -> None:
    """Take users out of a group, one after the other. Needs a higher role than theirs."""
    options: GlobalOptions = context.obj
    removed = _users(users)

    async def work() -> None:
        async with signed_in(options) as client:
            channel = await open_target(client, target)
            for user in removed:
                info = await channel.remove(user)
        print_lines([f"#{neutral_line(info.title)} has {info.member_count} members now"])

    run(options, work())


def leave(context: typer.Context, target: TargetArgument) -> None:
    """Leave a group."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        async with signed_in(options) as client:
            await (await open_target(client, target)).leave()
        print_lines([f"left {neutral_line(target)}"])

    run(options, work())


def members(context: typer.Context, target: TargetArgument, as_json: JsonOption = False) -> None:
    """List who is in a conversation, with roles and how far each has read."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        rows: list[list[str]] = []
        async with signed_in(options) as client:
            names = Names(client)
            channel = await open_target(client, target)
            async for member in channel.members():
                await names.learn([member.user_id])
                role = member.role.name.lower()
                if as_json:
                    fields = {
                        "user_id": member.user_id,
                        "user": names[member.user_id],
                        "role": role,
                        "joined_seq": member.joined_seq,
                        "read_seq": member.read_seq,
                    }
                    print_json(json_line(fields))
                else:
                    rows.append([neutral_line(f"@{names[member.user_id]}"), role, str(member.read_seq)])
        if not as_json:
            print_lines(table_lines(["USER", "ROLE", "READ UP TO"], sorted(rows)))

    run(options, work())


def _users(typed: list[str]) -> list[str]:
    return [f"@{parse_user(text)}" for text in typed]
