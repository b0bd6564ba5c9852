"""grpc.health.v1 with a status per dependency, checked all the time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from parley_runtime.logs import get_logger
from parley_server.api.open_calls import OpenCalls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    # Generic in its stubs only.
    _Context = grpc.aio.ServicerContext[Any, Any]

# Its published stubs are older than the List call.
_messages: Any = health_pb2

CHECK_SECONDS = 5.0
CHECK_LIMIT_SECONDS = 3.0

log = get_logger(__name__)


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Answers grpc.health.v1.Health, to anybody. At most `watches_limit` Watch calls are open at a time.

    grpcio's own servicer keeps a lock while it writes to a watcher: one that takes nothing would hold up the
    checks, the other watchers and the end of the node.
    """

    def __init__(self, watches_limit: int) -> None:
        self._watches = OpenCalls(
            watches_limit,
            "Too many watches of this node's health are open. Call Check instead, or retry later.",
        )
        self._serving: dict[str, bool] = {}
        self._leaving = False
        self._changed = asyncio.Event()

    def put(self, name: str, *, serving: bool) -> None:
        """Set one status and wake the watchers."""
        if self._serving.get(name) != serving:
            self._serving[name] = serving
            self._wake()

    def leave(self) -> None:
        """From now on nothing serves any more, whatever is put."""
        self._leaving = True
        self._wake()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: _Context) -> Any:
        status = self._status(request.service)
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, request: object, context: _Context) -> Any:
        answer = _messages.HealthListResponse()
        for name in self._serving:
            answer.statuses[name].status = self._status(name)
        return answer

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: _Context) -> None:
        told: int | None = None
        async with self._watches.one(context):
            while True:
                changed = self._changed
                status = self._status(request.service)
                if status != told:
                    await context.write(health_pb2.HealthCheckResponse(status=status))
                    told = status
                await changed.wait()

    def _status(self, name: str) -> Any:
        response = health_pb2.HealthCheckResponse
        serving = self._serving.get(name)
        if serving is None:
            return response.SERVICE_UNKNOWN
        return response.SERVING if serving and not self._leaving else response.NOT_SERVING

    def _wake(self) -> None:
        # Each change has an event of its own: a watcher that was writing meanwhile finds it set.
        self._changed.set()
        self._changed = asyncio.Event()


class HealthChecks:
    """Keeps a HealthServicer up to date.

    Service names: "" for the node as a whole (serving if every dependency is), and one per dependency, such
    as "store.log".
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[object]]], *, watches_limit: int) -> None:
        self.servicer = HealthServicer(watches_limit)
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
                    log.error("dependency is not healthy", dependency=name, error=_cause(error))
            if healthy and self._healthy.get(name) is False:
                log.warning("dependency is healthy again", dependency=name)
            self._healthy[name] = healthy
            self.servicer.put(name, serving=healthy)
        self.servicer.put("", serving=all(self._healthy.values()))

    async def keep_checking(self) -> None:
        """Check again and again, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.check()

    def leave(self) -> None:
        """Answer NOT_SERVING from now on: the node is leaving."""
        self.servicer.leave()


def _cause(error: Exception) -> str:
    """What to tell of an error, whose own text may be empty, as that of a time limit is."""
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {CHECK_LIMIT_SECONDS:g} s"
    return str(error) or type(error).__name__
