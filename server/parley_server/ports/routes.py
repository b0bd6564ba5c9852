"""The port to the routes: which nodes hold open streams of a user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Route:
    """A stream of a user's device on one life of a node."""

    node_id: str
    incarnation: str
    device_id: str
    session_id: str


class Routes(Protocol):
    """Leased routes.

    Laws: a route is seen from the return of `add` until `remove` or until its lease runs out, whichever is
    first; a route whose lease ran out is never returned. Raises StoreUnavailable when the store cannot
    answer.
    """

    async def add(self, user_id: str, route: Route, *, lease_seconds: float) -> None:
        """Add the route, or renew its lease from now."""
        ...

    async def remove(self, user_id: str, route: Route) -> None:
        """Remove the route. Nothing to remove is fine."""
        ...

    async def of(self, user_id: str) -> tuple[Route, ...]:
        """The user's routes with a running lease, oldest first."""
        ...
