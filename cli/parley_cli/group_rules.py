"""`parley group update`, `delete`, `role`, `ban`, `unban`, `bans`."""

from __future__ import annotations

import enum
import time
from typing import Annotated

import typer

import parley
from parley_cli.arguments import JsonOption, TargetArgument
from parley_cli.conversation import open_target
from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import examples
from parley_cli.names import Names
from parley_cli.neutral import neutral_line
from parley_cli.output import print_json, print_lines
from parley_cli.render import clock_text, json_line, table_lines
from parley_cli.session import run, signed_in
from parley_cli.target import parse_user

_USER = typer.Argument(metavar="@USER", help="The user.", show_default=False)


class RoleName(enum.StrEnum):
    """Roles as they are typed."""

    MEMBER = "member"
    ADMIN = "admin"
    OWNER = "owner"


def register(group: typer.Typer) -> None:
    """Add the commands to `parley group`."""
    group.command(
        epilog=examples(
            "parley group update '#trip' --title 'Jeju in May' --description 'Who brings what'",
            "parley group update '#trip' --history-from-start --slow-mode 10",
        )
    )(update)
    group.command(epilog=examples("parley group delete '#trip' --yes"))(delete)
    group.command(
        epilog=examples("parley group role '#trip' @bob admin", "parley group role '#trip' @bob member")
    )(role)
    group.command(epilog=examples("parley group ban '#trip' @mallory"))(ban)
    group.command(epilog=examples("parley group unban '#trip' @mallory"))(unban)
    group.command(epilog=examples("parley group bans '#trip'", "parley group bans '#trip' --json"))(bans)


def update(
    context: typer.Context,
    target: TargetArgument,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="1 to 128 letters.")] = None,
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="What it is about; '' for nothing.")
    ] = None,
    history_from_start: Annotated[
        bool | None,
        typer.Option(
            "--history-from-start/--history-from-joining",
            help="What those who join from now on may read.",
            show_default=False,
        ),
    ] = None,
    slow_mode: Annotated[
        int | None,
        typer.Option(
            "--slow-mode",
            metavar="SECONDS",
            min=0,
            help="A member may write once in so many seconds; 0: any time.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Change a group's settings; what is not named stays. Needs the role admin or owner."""
    options: GlobalOptions = context.obj
    if title is None and description is None and history_from_start is None and slow_mode is None:
        raise CommandFailure(
            ExitCode.USAGE, "nothing to change was named", "See `parley group update --help`"
        )

    async def work() -> None:
        async with signed_in(options) as client:
            channel = await open_target(client, target)
            info = await channel.update(
                title=None if title is None else title.removeprefix("#"),
                description=description,
                history_from_start=history_from_start,
                slow_mode_seconds=slow_mode,
            )
        if as_json:
            fields = {
                "channel_id": info.channel_id,
                "title": info.title,
                "description": info.description,
                "history_from_start": info.history_visibility is parley.HistoryVisibility.FROM_START,
                "slow_mode_seconds": info.slow_mode_seconds,
            }
            print_json(json_line(fields))
        else:
            print_lines([f"changed the group #{neutral_line(info.title)}"])

    run(options, work())


def delete(
    context: typer.Context,
    target: TargetArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Needed: it cannot be taken back.")] = False,
) -> None:
    """End a group for everybody, for good. Nobody can read anything of it any more. Needs the role owner."""
    options: GlobalOptions = context.obj
    if not yes:
        raise CommandFailure(
            ExitCode.USAGE,
            f"deleting {target} removes it for everybody and cannot be taken back",
            "Say --yes to do it",
        )

    async def work() -> None:
        async with signed_in(options) as client:
            await (await open_target(client, target)).delete_channel()
        print_lines([f"deleted {neutral_line(target)}"])

    run(options, work())


def role(
    context: typer.Context,
    target: TargetArgument,
    user: Annotated[str, _USER],
    new_role: Annotated[RoleName, typer.Argument(metavar="ROLE", help="member, admin or owner.")],
) -> None:
    """Give a member of a group another role. Needs the role owner."""
    options: GlobalOptions = context.obj
    name = parse_user(user)

    async def work() -> None:
        async with signed_in(options) as client:
            channel = await open_target(client, target)
            await channel.set_role(f"@{name}", parley.Role[new_role.name])
        print_lines([f"{neutral_line(name)} is {new_role.value} now"])

    run(options, work())


def ban(context: typer.Context, target: TargetArgument, user: Annotated[str, _USER]) -> None:
    """Keep a user out of a group; a member is removed. Needs a higher role than the member's."""
    _ban(context.obj, target, user, banned=True)


def unban(context: typer.Context, target: TargetArgument, user: Annotated[str, _USER]) -> None:
    """Lift a ban. The user is not a member by that."""
    _ban(context.obj, target, user, banned=False)


def _ban(options: GlobalOptions, target: str, user: str, *, banned: bool) -> None:
    name = parse_user(user)

    async def work() -> None:
        async with signed_in(options) as client:
            channel = await open_target(client, target)
            await (channel.ban(f"@{name}") if banned else channel.unban(f"@{name}"))
        print_lines([f"{'banned' if banned else 'lifted the ban of'} {neutral_line(name)}"])

    run(options, work())


def bans(context: typer.Context, target: TargetArgument, as_json: JsonOption = False) -> None:
    """List who is banned from a group. Needs the role admin or owner."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        rows: list[list[str]] = []
        now_ms = time.time_ns() // 1_000_000
        async with signed_in(options) as client:
            names = Names(client)
            async for found in (await open_target(client, target)).bans():
                await names.learn([found.user_id, found.actor_id])
                if as_json:
                    fields = {
                        "user_id": found.user_id,
                        "user": names[found.user_id],
                        "actor_id": found.actor_id,
                        "actor": names[found.actor_id],
                        "create_time_ms": found.create_time_ms,
                    }
                    print_json(json_line(fields))
                else:
                    since = clock_text(found.create_time_ms, now_ms, None)
                    rows.append(
                        [
                            neutral_line(f"@{names[found.user_id]}"),
                            neutral_line(f"@{names[found.actor_id]}"),
                            since,
                        ]
                    )
        if not as_json:
            print_lines(table_lines(["USER", "BANNED BY", "SINCE"], rows))

    run(options, work())
