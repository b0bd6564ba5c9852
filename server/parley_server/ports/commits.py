"""The port through which a channel's owner writes: a batch's rows, and what is projected from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.chat.event import Event
    from parley_server.ports.message_log import AppendResult, Row


class Commits(Protocol):
    """Log and projections at one go. Where both lie in one store that is one transaction, else two steps."""

    async def commit(
        self,
        channel_id: str,
        expected_head: int,
        rows: Sequence[Row],
        events: Sequence[Event],
        batch_id: bytes,
    ) -> AppendResult:
        """Append `rows` as MessageLog.append does; `events` are what they encode.

        After Committed the events are projected too. After any other answer nothing was. Raises
        StoreUnavailable when the rows are in the log and may not be projected: activating the channel does
        that.
        """
        ...
