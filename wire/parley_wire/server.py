"""`parley_wire.Server`: runs grpc.aio servicers on our own transport."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Protocol

import grpc
import grpc.aio

from parley_wire.credentials import context_of
from parley_wire.flusher import Flusher, flush_now
from parley_wire.handlers import Handlers
from parley_wire.limited_log import LimitedLog
from parley_wire.listener import Listener
from parley_wire.log import log
from parley_wire.mistaken_clients import MistakenClients
from parley_wire.options import ServerOptions
from parley_wire.server_connection import ServerConnection
from parley_wire.shared_frame import SharedFrame
from parley_wire.status import STOPPING_FAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from parley_wire.handlers import Handler
    from parley_wire.metadata import Metadata
    from parley_wire.request import Request
    from parley_wire.status import CallFault

_AGE_JITTER = 0.1
_SWEEP_AT_ONCE = 200
# How often a server that stops looks whether its calls are over.
_LOOK_SECONDS = 0.05


class AwaitsRequest(Protocol):
    """A call whose request must come in time."""

    def give_up_waiting(self) -> None:
        """It did not."""
        ...


def _no_metadata(_fault: CallFault) -> Metadata:
    return ()


def _told_nobody(_fault: CallFault) -> None:
    pass


class Server(grpc.aio.Server):
    """A grpc.aio server. Make it inside a running loop; ports are bound when they are added.

    It takes what grpc.aio's generated code registers, health and reflection included, and `RawMethod`s.
    docs/design/wire.md lists what handlers may use.
    """

    def __init__(
        self,
        options: ServerOptions | None = None,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        compression: grpc.Compression = grpc.Compression.NoCompression,
        fault_metadata: Callable[[CallFault], Metadata] = _no_metadata,
        on_fault: Callable[[CallFault], None] = _told_nobody,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """`fault_metadata` says what is added to the status of a call that ends for a reason below its
        handler: error details, say. `on_fault` is told of each such call, once: not of one that its handler
        or its client has ended before. Neither may raise. `uniform` spreads the ages of connections.
        """
        self.options = options or ServerOptions()
        self.loop = asyncio.get_running_loop()
        self.handlers = Handlers(interceptors)
        self.flusher = Flusher(self.loop)
        self.shared = SharedFrame()
        # Calls that are open, and bytes of their unfinished requests.
        self.calls = 0
        self.partial_bytes = 0
        # Handlers that run, each task under its method's name.
        self.tasks: set[asyncio.Task[None]] = set()
        self.mistaken_clients = MistakenClients(self.options.mistaken_client_lines_per_minute)
        self.given_up_log = LimitedLog(self.options.given_up_lines_per_minute)
        self.fault_metadata = fault_metadata
        self.on_fault = on_fault
        self._uniform = uniform
        self._encoding = {grpc.Compression.Gzip: "gzip", grpc.Compression.Deflate: "deflate"}.get(
            compression, "identity"
        )
        self._listeners: list[Listener] = []
        self._connections: set[ServerConnection] = set()
        self._addresses: dict[str, int] = {}
        # Calls whose one request has not come yet, oldest first.
        self._awaited: dict[AwaitsRequest, float] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None
        self._stop_at = float("inf")
        self._starting: asyncio.Task[None] | None = None
        # While stopping: the last connection was closed; the grace was shortened.
        self._gone = asyncio.Event()
        self._hurry = asyncio.Event()

    # grpc.aio.Server

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self.handlers.add_generic(generic_rpc_handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        self.handlers.add_registered(service_name, method_handlers)

    def add_insecure_port(self, address: str) -> int:
        """Bind `host:port`, `[::1]:port` (port 0: any free one) or `unix:path`. Raises RuntimeError."""
        return self._listen(Listener(self, address, None))

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """The same with TLS. Takes `tls_server_credentials` only; raises TypeError for others."""
        return self._listen(Listener(self, address, context_of(server_credentials)))

    async def start(self) -> None:
        """Accept connections. Once, and not after `stop`: else it raises UsageError. A `stop` that is called
        meanwhile waits until this is through.
        """
        if self._starting or self._stopping:
            raise grpc.aio.UsageError("a server starts once")
        self._starting = self.loop.create_task(self._start())
        # Whoever gives up waiting leaves no listener half started, which `stop` could not close.
        await asyncio.shield(self._starting)

    async def stop(self, grace: float | None) -> None:
        """Take no new calls, wait up to `grace` seconds for the present ones, then cancel them.

        When it returns every connection is closed, and no handler runs but those that would not end within
        `cancellation_seconds`: the log names their methods. A second call may shorten the grace.
        """
        stop_at = self.loop.time() + (grace or 0.0)
        if stop_at < self._stop_at:
            self._stop_at = stop_at
            self._hurry.set()
        if self._stopping is None:
            self._stopping = self.loop.create_task(self._stop())
        # Whoever gives up waiting does not stop the stopping.
        await asyncio.shield(self._stopping)

    async def _start(self) -> None:
        self._sweeper = self.loop.create_task(self._sweep())
        for listener in self._listeners:
            await listener.start()

    async def _stop(self) -> None:
        try:
            if self._starting is not None:
                # A listener that is about to serve would lose its socket, and not know.
                await asyncio.wait([self._starting])
            await self._close()
        finally:
            if self._sweeper is not None:
                self._sweeper.cancel()
                await asyncio.wait([self._sweeper])
            self._stopped.set()

    async def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.shut_down(float("inf"))
        await self._until_quiet()
        for connection in list(self._connections):
            try:
                # Whoever did not hear of the first GOAWAY, or minds it not, opens nothing from here on.
                connection.core.finish_shutdown()
                connection.end_calls(STOPPING_FAULT)
            except Exception:
                # A defect of ours or of the owner's: all the others are told all the same.
                log.exception("the calls of a connection could not be ended")
                connection.abort()
        await self._end_tasks()
        for connection in list(self._connections):
            flush_now(connection)
        # What was written last may still be on its way to slow readers: a moment, then it is cut.
        await self._until_gone(0.2)
        for connection in list(self._connections):
            connection.abort()
        await self._until_gone(1.0)
        for listener in self._listeners:
            await listener.wait_closed()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Wait until the server stopped. True if `timeout` seconds passed before that."""
        try:
            async with asyncio.timeout(timeout):
                await self._stopped.wait()
        except TimeoutError:
            return True
        return False

    # What connections and calls use

    def connection(self) -> ServerConnection:
        """The protocol for one accepted socket."""
        return ServerConnection(self)

    @property
    def full(self) -> bool:
        """Whether the call that was just counted is one too many."""
        limit = self.options.concurrent_calls
        return limit is not None and self.calls > limit

    def admit(self, connection: ServerConnection, transport: asyncio.Transport) -> bool:
        """Whether one more connection is taken."""
        name = transport.get_extra_info("peername")
        address = str(name[0]) if isinstance(name, tuple) else ""
        options = self.options
        count = self._addresses.get(address, 0)
        if (
            self._stopping
            or len(self._connections) >= options.connections
            or (address and count >= options.connections_per_address)
        ):
            return False
        self._connections.add(connection)
        connection.address = address
        self._addresses[address] = count + 1
        return True

    def forget(self, connection: ServerConnection) -> None:
        """A connection is closed."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        left = self._addresses[connection.address] - 1
        if left:
            self._addresses[connection.address] = left
        else:
            del self._addresses[connection.address]
        if not self._connections:
            self._gone.set()

    def connection_age(self) -> float:
        """How old the next connection may become, in seconds; 0 for any age."""
        age = self.options.connection_age_seconds
        return age * self._uniform(1.0 - _AGE_JITTER, 1.0 + _AGE_JITTER) if age else 0.0

    def encoding_for(self, request: Request) -> str:
        """How responses to this request are compressed unless its handler says otherwise."""
        return self._encoding if self._encoding in request.accepts else "identity"

    def await_request(self, call: AwaitsRequest) -> None:
        """The call's only request must come in time."""
        self._awaited[call] = self.loop.time()

    def request_over(self, call: AwaitsRequest) -> None:
        """It came, or the call ended."""
        self._awaited.pop(call, None)

    # Inside

    def _listen(self, listener: Listener) -> int:
        if self._starting:
            listener.close()
            raise RuntimeError("ports are added before the server starts")
        self._listeners.append(listener)
        return listener.port

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self.options.sweep_seconds)
            now = self.loop.time()
            held = 0
            for number, connection in enumerate(list(self._connections)):
                try:
                    connection.check(now)
                    held += connection.core.held_bytes
                except Exception:
                    # A defect of ours or of a handler: times are looked after for all the others.
                    log.exception("a connection failed")
                    connection.abort()
                if number % _SWEEP_AT_ONCE == _SWEEP_AT_ONCE - 1:
                    # Others have their turn: thousands of connections take milliseconds.
                    await asyncio.sleep(0)
            if held > self.options.held_bytes:
                self._close_largest(held)
            self._give_up_waiting(now)

    def _give_up_waiting(self, now: float) -> None:
        limit = self.options.request_seconds
        for call, since in list(self._awaited.items()):
            if now - since <= limit:
                break
            self.request_over(call)
            try:
                call.give_up_waiting()
            except Exception:
                log.exception("a call could not be ended whose request did not come in time")

    def _close_largest(self, held: int) -> None:
        """Each stream and each connection has its bounds; together they may still hold too much."""
        holding = sorted(self._connections, key=lambda connection: connection.core.held_bytes)
        while held > self.options.held_bytes and holding:
            worst = holding.pop()
            held -= worst.core.held_bytes
            log.warning("connection of %s closed: %d bytes wait on it", worst.peer, worst.core.held_bytes)
            worst.abort()

    async def _end_tasks(self) -> None:
        """Cancel the handlers. One that swallows its cancellation does not hold the stop up for ever."""
        if not self.tasks:
            return
        for task in self.tasks:
            task.cancel()
        limit = self.options.cancellation_seconds
        _, left = await asyncio.wait(self.tasks, timeout=limit)
        if left:
            methods = ", ".join(sorted({task.get_name() for task in left}))
            log.error(
                "%d handlers did not end within %g s of their cancellation and are left: %s",
                len(left),
                limit,
                methods,
            )

    async def _until_quiet(self) -> None:
        """Until no connection has a call, or the grace is over."""
        while self.calls or self.tasks:
            left = self._stop_at - self.loop.time()
            if left <= 0:
                return
            self._hurry.clear()
            await _wait(self._hurry, min(left, _LOOK_SECONDS))

    async def _until_gone(self, seconds: float) -> None:
        """Until the last connection is closed, or the time is over."""
        if self._connections:
            self._gone.clear()
            await _wait(self._gone, seconds)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
