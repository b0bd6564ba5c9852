"""Not a bug, but a store that commits log and projections apart, at the worst moment: what is projected is
never synced by itself, nor with the positions of users and devices, only with the next append.

With `power_cut` a kill takes the projection of what was appended last, and nothing of the logs. It takes the
positions after that as well, so this is no world for runs that look at read marks.
"""

from __future__ import annotations

from typing import Any

from parley_server import node
from parley_server.backends.sqlite import positions, writer
from parley_server.chat.separate_commits import SeparateCommits
from parley_server.testing.planting import plant


def _apart(_database: object, log: Any, projections: Any) -> SeparateCommits:
    return SeparateCommits(log, projections)


plant(node, SqliteCommits=_apart)
plant(writer, IDLE_SYNC_SECONDS=24 * 3600.0)
plant(positions._AcknowledgeWrite, durable=False)
plant(positions._MarkReadWrite, durable=False)
