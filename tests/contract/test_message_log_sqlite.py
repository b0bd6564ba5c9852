from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.testing.message_log_contract import MessageLogContract

if TYPE_CHECKING:
    from pathlib import Path

    from parley_server.ports.message_log import MessageLog


class TestSqliteMessageLog(MessageLogContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.databases: dict[object, tuple[Path, ChatDatabase]] = {}

    async def make(self) -> MessageLog:
        return await self._open(self.folder / f"{len(self.databases)}.db")

    async def discard(self, log: MessageLog) -> None:
        await self.databases[log][1].close()

    async def reopen(self, log: MessageLog) -> MessageLog:
        path, database = self.databases[log]
        await database.close()
        return await self._open(path)

    async def _open(self, path: Path) -> MessageLog:
        database = await ChatDatabase.open(path)
        log = SqliteMessageLog(database)
        self.databases[log] = (path, database)
        return log
