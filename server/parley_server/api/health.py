"""grpc.health.v1 with a status per dependency, checked all the time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import grpc.aio

# Its published stubs are older than the List call.
_messages: Any = health_pb2

CHECK_SECONDS = 5.0
CHECK_LIMIT_SECONDS = 3.0

log = structlog.get_logger()


class _ListingServicer(HealthServicer):
    """grpcio's asynchronous servicer leaves List out, which reflection shows and tools call."""

    def __init__(self) -> None:
        super().__init__()
        self._serving: dict[str, bool] = {}
        self._leaving = False

    async def put(self, name: str, *, serving: bool) -> None:
        """Set one status. After `enter_graceful_shutdown` nothing serves any more."""
        self._serving[name] = serving
        response = health_pb2.HealthCheckResponse
        await self.set(name, response.SERVING if serving else response.NOT_SERVING)

    async def enter_graceful_shutdown(self) -> None:
        self._leaving = True
        await super().enter_graceful_shutdown()

    async def List(self, request: object, context: grpc.aio.ServicerContext[Any, Any]) -> object:
        answer = _messages.HealthListResponse()
        response = health_pb2.HealthCheckResponse
        for name, serving in self._serving.items():
            up = serving and not self._leaving
            answer.statuses[name].status = response.SERVING if up else response.NOT_SERVING
        return answer


class HealthChecks:
    """Keeps a HealthServicer up to date.

    Service names: "" for the node as a whole (serving if every dependency is), and one per dependency, such
    as "store.log".
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        self.servicer = _ListingServicer()
        self._checks = dict(checks)
        self._healthy: dict[str, bool] = {}

    async def check(self) -> None:
        """Ask every dependency once. Only changes are logged."""
        for name, ask in self._checks.items():
            try:
                await asyncio.wait_for(ask(), CHECK_LIMIT_SECONDS)
                healthy = True
            except Exception as error:
                healthy = False
                if self._healthy.get(name, True):
                    log.error("dependency is not healthy", dependency=name, error=str(error))
            if healthy and self._healthy.get(name) is False:
                log.warning("dependency is healthy again", dependency=name)
            self._healthy[name] = healthy
            await self.servicer.put(name, serving=healthy)
        await self.servicer.put("", serving=all(self._healthy.values()))

    async def keep_checking(self) -> None:
        """Check again and again, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.check()

    async def leave(self) -> None:
        """Answer NOT_SERVING from now on: the node is leaving."""
        await self.servicer.enter_graceful_shutdown()
