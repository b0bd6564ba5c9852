"""Commits for a log and projections that share no transaction: append, then project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.ports.message_log import Committed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.chat.event import Event
    from parley_server.ports.message_log import AppendResult, MessageLog, Row
    from parley_server.ports.projections import Projections


class SeparateCommits:
    """What falls between the two steps is in the log only, until the channel is activated again."""

    def __init__(self, log: MessageLog, projections: Projections) -> None:
        self._log = log
        self._projections = projections

    async def commit(
        self,
        channel_id: str,
        expected_head: int,
        rows: Sequence[Row],
        events: Sequence[Event],
        batch_id: bytes,
    ) -> AppendResult:
        """See Commits."""
        result = await self._log.append(channel_id, expected_head, rows, batch_id)
        if isinstance(result, Committed):
            await self._projections.apply(channel_id, events)
        return result
