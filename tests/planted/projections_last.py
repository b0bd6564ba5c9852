"""Not a bug, but a store that commits log and projections apart, at the worst moment: what is projected is
never synced by itself, only with the next append.

With `power_cut` a kill takes the projection of every channel's newest events, and nothing of the logs.
"""

from __future__ import annotations

from typing import Any

from parley_server import node
from parley_server.backends.sqlite import writer
from parley_server.chat.separate_commits import SeparateCommits


def _apart(_database: object, log: Any, projections: Any) -> SeparateCommits:
    return SeparateCommits(log, projections)


_planted: Any = node
_planted.SqliteCommits = _apart
_patient: Any = writer
_patient.IDLE_SYNC_SECONDS = 24 * 3600.0
