from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.positions import SqlitePositions
from parley_server.testing.positions_contract import PositionsContract

if TYPE_CHECKING:
    from pathlib import Path

    from parley_server.ports.positions import Positions


class TestSqlitePositions(PositionsContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.databases: dict[object, tuple[Path, ChatDatabase]] = {}

    async def make(self) -> Positions:
        return await self._open(self.folder / f"{len(self.databases)}.db")

    async def discard(self, positions: Positions) -> None:
        await self.databases[positions][1].close()

    async def reopen(self, positions: Positions) -> Positions:
        path, database = self.databases[positions]
        await database.close()
        return await self._open(path)

    async def _open(self, path: Path) -> Positions:
        database = await ChatDatabase.open(path)
        positions = SqlitePositions(database)
        self.databases[positions] = (path, database)
        return positions
