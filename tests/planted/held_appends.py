"""Not a bug, only patience: nothing is appended to a log while the file HOLD lies in the data folder.

A test can thus keep requests unanswered for as long as it needs to look at what else happens.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from parley_server.backends.sqlite.commits import SqliteCommits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.chat.event import Event
    from parley_server.ports.message_log import AppendResult, Row

_hold = Path(json.loads(sys.argv[1])["data"]) / "HOLD"
_commit = SqliteCommits.commit


async def _held_commit(
    self: SqliteCommits,
    channel_id: str,
    expected_head: int,
    rows: Sequence[Row],
    events: Sequence[Event],
    batch_id: bytes,
) -> AppendResult:
    while _hold.exists():  # noqa: ASYNC110 - the one who waits for is another process
        await asyncio.sleep(0.005)
    return await _commit(self, channel_id, expected_head, rows, events, batch_id)


SqliteCommits.commit = _held_commit  # type: ignore[method-assign]
