"""Leased routes in this process's memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from parley_runtime.clock import Clock
    from parley_server.ports.routes import Route

_SWEPT_PER_ADD: Final = 2


class MemoryRoutes:
    """Routes as dictionaries, the embedded default.

    Each addition looks at two users and drops their leases that ran out, so forgotten routes do not pile up.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Per user the routes, oldest first, each with the moment at which its lease runs out.
        self._users: dict[str, dict[Route, float]] = {}
        # Every user with routes stands here once.
        self._to_sweep: deque[str] = deque()

    async def add(self, user_id: str, route: Route, *, lease_seconds: float) -> None:
        """See Routes."""
        now = self._clock.monotonic()
        self._sweep(now)
        routes = self._users.get(user_id)
        if routes is None:
            routes = self._users[user_id] = {}
            self._to_sweep.append(user_id)
        if routes.get(route, now) <= now:
            # A lease that ran out is no route any more: this one is new, and so the youngest.
            routes.pop(route, None)
        routes[route] = now + lease_seconds

    async def remove(self, user_id: str, route: Route) -> None:
        """See Routes."""
        routes = self._users.get(user_id)
        if routes is not None:
            routes.pop(route, None)

    async def of(self, user_id: str) -> tuple[Route, ...]:
        """See Routes."""
        now = self._clock.monotonic()
        routes = self._users.get(user_id)
        return () if routes is None else tuple(route for route, end in routes.items() if end > now)

    def _sweep(self, now: float) -> None:
        for _ in range(min(_SWEPT_PER_ADD, len(self._to_sweep))):
            user_id = self._to_sweep.popleft()
            routes = self._users[user_id]
            for route in [route for route, end in routes.items() if end <= now]:
                del routes[route]
            if routes:
                self._to_sweep.append(user_id)
            else:
                del self._users[user_id]
