"""From a TARGET to a channel."""

from __future__ import annotations

import parley
from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.target import TitleTarget, UserTarget, choose_by_title, parse_target


async def open_target(client: parley.Client, text: str, *, begin: bool = False) -> parley.Channel:
    """The channel that `text` names. A direct channel is made only with `begin`: the other user sees it.

    Raises CommandFailure for a target that names nothing or several, ParleyError for what the server refuses.
    """
    target = parse_target(text)
    if isinstance(target, UserTarget):
        name = f"@{target.username}"
        return await client.direct(name) if begin else await _direct_with(client, name)
    if isinstance(target, TitleTarget):
        groups = [
            (info.channel_id, info.title)
            async for info in client.channels()
            if info.kind != parley.ChannelKind.DIRECT
        ]
        return client.channel(choose_by_title(target.title, groups))
    return client.channel(target.channel_id)


async def _direct_with(client: parley.Client, name: str) -> parley.Channel:
    user_id = (await client.user(name)).user_id
    async for entry in client.inbox():
        if entry.peer_user_id == user_id:
            return client.channel(entry.channel.channel_id)
    raise CommandFailure(
        ExitCode.REFUSED,
        f"there is no conversation with {name} yet",
        f"Begin it with `parley send {name} TEXT`",
    )
