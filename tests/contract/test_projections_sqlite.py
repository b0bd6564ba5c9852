from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.testing.projections_contract import ProjectionsContract

if TYPE_CHECKING:
    from pathlib import Path

    from parley_server.ports.projections import Projections


class TestSqliteProjections(ProjectionsContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.databases: dict[object, tuple[Path, ChatDatabase]] = {}

    async def make(self) -> Projections:
        return await self._open(self.folder / f"{len(self.databases)}.db")

    async def discard(self, projections: Projections) -> None:
        await self.databases[projections][1].close()

    async def reopen(self, projections: Projections) -> Projections:
        path, database = self.databases[projections]
        await database.close()
        return await self._open(path)

    async def _open(self, path: Path) -> Projections:
        database = await ChatDatabase.open(path)
        projections = SqliteProjections(database)
        self.databases[projections] = (path, database)
        return projections
