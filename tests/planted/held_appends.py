"""Not a bug, only patience: nothing is appended to a log while the file HOLD lies in the data folder.

A test can thus keep requests unanswered for as long as it needs to look at what else happens.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from parley_server.backends.sqlite.message_log import SqliteMessageLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.ports.message_log import AppendResult, Row

_hold = Path(json.loads(sys.argv[1])["data"]) / "HOLD"
_append = SqliteMessageLog.append


async def _held_append(
    self: SqliteMessageLog, channel_id: str, expected_head: int, rows: Sequence[Row], batch_id: bytes
) -> AppendResult:
    while _hold.exists():  # noqa: ASYNC110 - the one who waits for is another process
        await asyncio.sleep(0.005)
    return await _append(self, channel_id, expected_head, rows, batch_id)


SqliteMessageLog.append = _held_append  # type: ignore[method-assign]
