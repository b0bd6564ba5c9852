from __future__ import annotations

from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat.separate_commits import SeparateCommits
from parley_server.testing.commits_contract import CommitsContract, Stores


class TestSeparateCommits(CommitsContract):
    async def make(self) -> Stores:
        log, projections = MemoryMessageLog(), MemoryProjections()
        return Stores(SeparateCommits(log, projections), log, projections)
