"""`parley invite …` and `parley join`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

import parley
from parley_cli.arguments import JsonOption, TargetArgument
from parley_cli.conversation import open_target
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import SETTINGS, examples
from parley_cli.names import Names
from parley_cli.neutral import neutral_line
from parley_cli.output import print_json, print_lines
from parley_cli.render import clock_text, json_line, table_lines
from parley_cli.session import run, signed_in

_HOUR_SECONDS = 3600


def register(app: typer.Typer) -> None:
    """Add the commands."""
    invite = typer.Typer(help="Make codes by which users join a group.", **SETTINGS)
    invite.command(
        epilog=examples("parley invite create '#trip'", "parley invite create '#trip' --hours 24 --uses 10")
    )(create)
    invite.command(name="list", epilog=examples("parley invite list '#trip'"))(list_invites)
    invite.command(epilog=examples("parley invite revoke '#trip' INVITE_ID"))(revoke)
    app.add_typer(invite, name="invite")
    app.command(epilog=examples("parley join CODE"))(join)


def create(
    context: typer.Context,
    target: TargetArgument,
    hours: Annotated[
        int, typer.Option("--hours", metavar="N", min=1, max=366 * 24, help="How long it can be used.")
    ] = 7 * 24,
    uses: Annotated[
        int, typer.Option("--uses", metavar="N", min=0, help="How many users may join by it; 0: any number.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make an invite and print its code, which is shown only now. Needs the role admin or owner."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        async with signed_in(options) as client:
            names = Names(client)
            channel = await open_target(client, target)
            invite = await channel.create_invite(lifetime_seconds=hours * _HOUR_SECONDS, uses=uses)
            await names.learn([invite.creator_id])
        if as_json:
            print_json(json_line({"code": invite.code} | _fields(invite, names)))
        else:
            print_lines([invite.code])

    run(options, work())


def list_invites(context: typer.Context, target: TargetArgument, as_json: JsonOption = False) -> None:
    """List the invites that can be used now, without their codes. Needs the role admin or owner."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        async with signed_in(options) as client:
            names = Names(client)
            invites = await (await open_target(client, target)).invites()
            await names.learn({invite.creator_id for invite in invites})
        if as_json:
            for invite in invites:
                print_json(json_line(_fields(invite, names)))
            return
        now_ms = time.time_ns() // 1_000_000
        rows = [
            [
                invite.invite_id,
                neutral_line(f"@{names[invite.creator_id]}"),
                clock_text(invite.expire_time_ms, now_ms, None),
                f"{invite.uses} of {invite.use_limit or 'any'}",
            ]
            for invite in invites
        ]
        print_lines(table_lines(["INVITE", "MADE BY", "UNTIL", "USED"], rows))

    run(options, work())


def revoke(
    context: typer.Context,
    target: TargetArgument,
    invite_id: Annotated[
        str,
        typer.Argument(metavar="INVITE_ID", help="As `parley invite list` shows it.", show_default=False),
    ],
) -> None:
    """Make an invite useless. Needs the role admin or owner."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        async with signed_in(options) as client:
            await (await open_target(client, target)).revoke_invite(invite_id)
        print_lines([f"revoked the invite {neutral_line(invite_id)}"])

    run(options, work())


def join(
    context: typer.Context,
    code: Annotated[str, typer.Argument(metavar="CODE", help="The invite's code.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Join a group by an invite. Joining again changes nothing."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        async with signed_in(options) as client:
            channel = await client.join(code)
            info = await channel.info()
        if as_json:
            print_json(json_line({"channel_id": info.channel_id, "title": info.title}))
        else:
            print_lines([f"joined #{neutral_line(info.title)}, channel id {info.channel_id}"])

    run(options, work())


def _fields(invite: parley.Invite, names: Names) -> dict[str, object]:
    return {
        "invite_id": invite.invite_id,
        "creator_id": invite.creator_id,
        "creator": names[invite.creator_id],
        "create_time_ms": invite.create_time_ms,
        "expire_time_ms": invite.expire_time_ms,
        "use_limit": invite.use_limit,
        "uses": invite.uses,
    }
