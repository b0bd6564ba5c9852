from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_server.backends.memory.routes import MemoryRoutes
from parley_server.testing.manual_clock import ManualClock
from parley_server.testing.routes_contract import RoutesContract, route

if TYPE_CHECKING:
    from parley_server.ports.routes import Routes


class TestMemoryRoutes(RoutesContract):
    @pytest.fixture(autouse=True)
    def _clock(self) -> None:
        self.clock = ManualClock()

    async def make(self) -> Routes:
        return MemoryRoutes(self.clock)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


async def test_routes_that_nobody_removed_are_dropped_as_others_come() -> None:
    """Caught when only `of` left expired routes out: those of lost sessions stayed for ever."""
    clock = ManualClock()
    routes = MemoryRoutes(clock)
    for number in range(1000):
        await routes.add(f"user {number}", route("phone"), lease_seconds=5)
        clock.advance(1)
    assert len(routes._users) < 20
    assert len(routes._to_sweep) == len(routes._users)
