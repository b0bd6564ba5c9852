"""`parley channels`."""

from __future__ import annotations

import time

import typer

import parley
from parley_cli.arguments import JsonOption
from parley_cli.event_view import event_fields
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import examples
from parley_cli.names import Labels, Names
from parley_cli.neutral import neutral_line
from parley_cli.output import print_json, print_lines
from parley_cli.render import clock_text, json_line, preview, table_lines
from parley_cli.session import run, signed_in

_PREVIEW_CELLS = 48


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=examples("parley channels", "parley channels --json | jq .unread_count"))(channels)


def channels(context: typer.Context, as_json: JsonOption = False) -> None:
    """List your conversations with unread counts.

    The one with the newest activity comes first."""
    options: GlobalOptions = context.obj

    async def work() -> None:
        rows: list[list[str]] = []
        now_ms = time.time_ns() // 1_000_000
        async with signed_in(options) as client:
            names = Names(client)
            labels = Labels(client, names)
            async for entry in client.inbox():
                label = await labels.learn(entry)
                if entry.last_message is not None:
                    await names.learn([entry.last_message.actor_id])
                if as_json:
                    print_json(json_line(_fields(entry, label, names)))
                else:
                    rows.append(_row(entry, label, names, now_ms))
        if not as_json:
            print_lines(table_lines(["CHANNEL", "UNREAD", "LAST", "MESSAGE", "ID"], rows))

    run(options, work())


def _row(entry: parley.InboxEntry, label: str, names: Names, now_ms: int) -> list[str]:
    last = entry.last_message
    return [
        neutral_line(label),
        f"{entry.unread_count} (muted)" if entry.mute_until_ms else str(entry.unread_count),
        clock_text(last.create_time_ms, now_ms, None) if last else "",
        preview(_last_text(last, names), _PREVIEW_CELLS) if last else "",
        entry.channel.channel_id,
    ]


def _last_text(last: parley.MessageEvent, names: Names) -> str:
    return "(deleted)" if last.deleted else f"{names[last.actor_id]}: {last.text}"


def _fields(entry: parley.InboxEntry, label: str, names: Names) -> dict[str, object]:
    return {
        "channel_id": entry.channel.channel_id,
        "label": label,
        "kind": entry.channel.kind.name.lower(),
        "title": entry.channel.title,
        "peer": names[entry.peer_user_id] if entry.peer_user_id else "",
        "member_count": entry.channel.member_count,
        "head_seq": entry.channel.head_seq,
        "read_seq": entry.read_seq,
        "unread_count": entry.unread_count,
        "mute_until_ms": entry.mute_until_ms,
        "last_message": event_fields(entry.last_message, names) if entry.last_message else None,
    }
