"""`parley tail`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

import parley
from parley_cli.arguments import JsonOption, NumbersOption
from parley_cli.conversation import open_target
from parley_cli.event_view import event_fields, event_lines, people_of
from parley_cli.global_options import GlobalOptions
from parley_cli.help_text import examples
from parley_cli.names import Labels, Names
from parley_cli.output import note, print_json, print_lines
from parley_cli.render import clock_text, json_line
from parley_cli.session import run, signed_in
from parley_cli.target import parse_target

_HISTORY_LIMIT = 10_000
_READY_SECONDS = 10.0
"""A person waits: a server that cannot be reached at first is told. Later the connection is awaited."""
_SILENT_SECONDS = 2.0
"""How long a person may see nothing at all before they are told what is tried."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "parley tail",
            "parley tail @bob --history 20",
            "parley --as bob tail --json | jq -r .text",
        )
    )(tail)


def tail(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET", help="Only this conversation: @user, '#title' in quotes, or a channel id."
        ),
    ] = None,
    history: Annotated[
        int,
        typer.Option(
            "--history",
            metavar="N",
            min=0,
            max=_HISTORY_LIMIT,
            help="First show this many of the newest messages.",
        ),
    ] = 0,
    numbers: NumbersOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what happens, as it happens, until Ctrl-C.

    A connection that breaks is made again, and what happened meanwhile is shown then: nothing is left out
    and nothing is shown twice.
    """
    options: GlobalOptions = context.obj
    if target is not None:
        parse_target(target)

    async def work() -> None:
        connection = _Connection()
        with connection.awaited(options.server):
            async with signed_in(options, foreground=True, on_status=connection.changed) as client:
                channel = await open_target(client, target, begin=True) if target is not None else None
                await _Tail(client, channel.id if channel else None, as_json, numbers).run(history)

    run(options, work())


class _Tail:
    """One run of the command: which events were shown, and how they are shown."""

    def __init__(self, client: parley.Client, only: str | None, as_json: bool, numbers: bool) -> None:
        self._client = client
        self._only = only
        self._as_json = as_json
        self._numbers = numbers
        self._names = Names(client)
        self._labels = Labels(client, self._names)
        self._shown: dict[str, int] = {}  # By channel id, the newest seq that was shown.

    async def run(self, history: int) -> None:
        """Show history, then what happens. Raises ParleyError for what no retry can mend."""
        stream = self._client.events()
        await stream.ready(_READY_SECONDS)
        # From here on the stream holds what happens, so history and stream meet without a gap.
        heads = {channel_id: head.head_seq for channel_id, head in stream.heads.items()}
        for message in await self._newest_messages(heads, history):
            await self._show(message)
        who = self._client.tokens.username if self._client.tokens else self._client.me
        note(f"Listening as {who}. Ctrl-C ends.")
        async for event in stream:
            await self._show(event)

    async def _newest_messages(self, heads: dict[str, int], count: int) -> list[parley.MessageEvent]:
        if not count:
            return []
        channel_ids = [self._only] if self._only is not None else list(heads)
        found: list[parley.MessageEvent] = []
        for channel_id in channel_ids:
            before_seq = heads.get(channel_id, 0) + 1
            channel = self._client.channel(channel_id)
            found.extend([message async for message in channel.history(count, before_seq)])
            found.sort(key=lambda message: (message.create_time_ms, message.channel_id, message.seq))
            del found[:-count]
        return found

    async def _show(self, event: parley.Event) -> None:
        self._labels.changed(event)
        if self._only in (None, event.channel_id) and event.seq > self._shown.get(event.channel_id, 0):
            self._shown[event.channel_id] = event.seq
            await self._print(event)

    async def _print(self, event: parley.Event) -> None:
        await self._names.learn(people_of(event))
        if self._as_json:
            print_json(json_line(event_fields(event, self._names)))
            return
        label = await self._labels.label(event.channel_id)
        clock = clock_text(event.create_time_ms, time.time_ns() // 1_000_000, None)
        style = "" if isinstance(event, parley.MessageEvent) else "dim"
        lines = event_lines(
            event,
            self._names,
            clock=clock,
            label=label if self._only is None else "",
            direct=label.startswith("@"),
            numbered=self._numbers,
        )
        print_lines(lines, style=style)


class _Connection:
    """Tells the person that the first connection takes long, that one is gone, that it is back: once each."""

    def __init__(self) -> None:
        self._reached = self._was_live = self._gone = False

    @contextmanager
    def awaited(self, server: str) -> Iterator[None]:
        """Within it, a first connection that takes more than 2 seconds is spoken of. Needs an event loop."""
        timer = asyncio.get_running_loop().call_later(_SILENT_SECONDS, self._late, server)
        try:
            yield
        finally:
            timer.cancel()

    def _late(self, server: str) -> None:
        if not self._reached:
            note(f"Trying to reach {server} …")

    def changed(self, status: parley.ClientStatus) -> None:
        """Called by the client when its phase changes."""
        if status.phase in (parley.Phase.CATCHING_UP, parley.Phase.LIVE):
            self._reached = True
        if status.phase is parley.Phase.WAITING and self._was_live and not self._gone:
            self._gone = True
            note("The connection is gone. Trying again …")
        elif status.phase is parley.Phase.LIVE:
            if self._gone:
                note("Connected again.")
            self._was_live, self._gone = True, False
