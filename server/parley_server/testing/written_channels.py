"""Channels written into stores past every node, for tests that are about what comes after."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from parley_server.chat import codec
from parley_server.chat.channel import decide
from parley_server.chat.channel_state import ChannelState
from parley_server.chat.channels import group_channel_id
from parley_server.chat.command import CreateChannel
from parley_server.chat.event import ChannelKind, HistoryVisibility
from parley_server.chat.known_ids import KnownIds
from parley_server.chat.message_rules import digest_of
from parley_server.ports.message_log import Committed
from parley_server.testing.raw_client import uuid7

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.ports.message_log import MessageLog
    from parley_server.ports.projections import Projections

_AT_ONCE = 256


async def write_groups(
    log: MessageLog, projections: Projections, member_ids: Sequence[str], count: int, now_ms: int
) -> list[str]:
    """Make so many groups of these users, of which the first owns them, as their owner would at `now_ms` (and
    a millisecond later each). No node may have the stores open. Returns their ids, oldest first.
    """
    ids: list[str] = []

    async def write(client_id: str, create_time_ms: int) -> str:
        channel_id = group_channel_id(member_ids[0], client_id)
        command = CreateChannel(
            actor_id=member_ids[0],
            kind=ChannelKind.GROUP,
            title="group",
            member_ids=tuple(member_ids),
            history_visibility=HistoryVisibility.FROM_JOINING,
            member_limit=len(member_ids),
            client_channel_id=client_id,
            digest=digest_of(client_id),
        )
        events = decide(ChannelState(channel_id, KnownIds(1)), command, create_time_ms)
        assert isinstance(events, tuple), events
        rows = [codec.row_of(event) for event in events]
        written = await log.append(channel_id, 0, rows, secrets.token_bytes(16))
        assert isinstance(written, Committed), written
        await projections.apply(channel_id, events)
        return channel_id

    for start in range(0, count, _AT_ONCE):
        numbers = range(start, min(count, start + _AT_ONCE))
        ids += await asyncio.gather(*(write(uuid7(now_ms + number), now_ms + number) for number in numbers))
    return ids
