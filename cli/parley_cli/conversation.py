"""From a TARGET to a channel."""

from __future__ import annotations

import parley
from parley_cli.target import TitleTarget, UserTarget, choose_by_title, parse_target


async def open_target(client: parley.Client, text: str) -> parley.Channel:
    """The channel that `text` names. A direct channel is made if need be.

    Raises CommandFailure for a target that names nothing or several, ParleyError for what the server refuses.
    """
    target = parse_target(text)
    if isinstance(target, UserTarget):
        return await client.direct(f"@{target.username}")
    if isinstance(target, TitleTarget):
        groups = [
            (info.channel_id, info.title)
            async for info in client.channels()
            if info.kind != parley.ChannelKind.DIRECT
        ]
        return client.channel(choose_by_title(target.title, groups))
    return client.channel(target.channel_id)
