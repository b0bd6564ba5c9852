from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.backends.memory.positions import MemoryPositions
from parley_server.testing.positions_contract import PositionsContract

if TYPE_CHECKING:
    from parley_server.ports.positions import Positions


class TestMemoryPositions(PositionsContract):
    async def make(self) -> Positions:
        return MemoryPositions()
