from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from parley_server.backends.sqlite.commits import SqliteCommits
from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.chat.event import ChannelDeleted
from parley_server.ports.message_log import Committed, Conflict
from parley_server.testing.commits_contract import CommitsContract, Stores
from parley_server.testing.projected_log import LogWriter

if TYPE_CHECKING:
    from pathlib import Path


class TestSqliteCommits(CommitsContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.databases: dict[Stores, ChatDatabase] = {}

    async def make(self) -> Stores:
        database = await ChatDatabase.open(self.folder / f"{len(self.databases)}.db")
        log, projections = SqliteMessageLog(database), SqliteProjections(database)
        stores = Stores(SqliteCommits(database, log, projections), log, projections)
        self.databases[stores] = database
        return stores

    async def discard(self, stores: Stores) -> None:
        await self.databases[stores].close()

    async def test_what_cannot_be_projected_is_not_written_either(self) -> None:
        """An owner never decides such a thing. If one does, its channel must not be poisoned for good, and
        those who waited with it for the same transaction get what they asked for.

        Planted: answering the error beside the others left the row in the log, and no later start could
        project it.
        """
        async with self.opened() as stores:
            good, bad = LogWriter("good"), LogWriter("bad")
            bad.add(ChannelDeleted())
            assert await stores.commit(bad.events) == Committed()
            impossible = bad.say()
            results = await asyncio.gather(
                stores.commit([impossible], 2), stores.commit(good.events, 3), return_exceptions=True
            )
            assert isinstance(results[0], ValueError)
            assert results[1] == Committed()
            await stores.assert_holds(good.events)
            assert await stores.log.head("bad") == 2
            assert await stores.commit(good.events, 4) == Conflict(1)
