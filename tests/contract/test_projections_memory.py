from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.backends.memory.projections import MemoryProjections
from parley_server.testing.projections_contract import ProjectionsContract

if TYPE_CHECKING:
    from parley_server.ports.projections import Projections


class TestMemoryProjections(ProjectionsContract):
    async def make(self) -> Projections:
        return MemoryProjections()
