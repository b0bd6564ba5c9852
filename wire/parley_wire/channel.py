"""`parley_wire.Channel`: many calls, as bytes, over one connection that comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from parley_wire.backoff import Backoff
from parley_wire.client_call import CallFailed, ClientCall
from parley_wire.client_connection import ClientConnection
from parley_wire.flusher import Flusher
from parley_wire.limits import Limits
from parley_wire.request import request_block

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from parley_wire.metadata import Metadata


_RETRY_SECONDS = (0.005, 0.02, 0.1, 0.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """Settings of a channel. Times are in seconds."""

    limits: Limits = field(default_factory=Limits)
    """Bounds of each connection."""
    receive_message_bytes: int = 4 * 1024 * 1024
    """Largest response message, decompressed. A larger one fails its call with RESOURCE_EXHAUSTED."""
    waiting_calls: int = 10_000
    """Calls that wait until the server takes one more. One more fails with RESOURCE_EXHAUSTED."""
    connect_seconds: float = 10.0
    """How long connecting, TLS and the server's SETTINGS may take."""
    first_backoff_seconds: float = 0.2
    """How long after a failed attempt calls fail without another one; grows with each failure."""
    longest_backoff_seconds: float = 20.0
    """Up to this."""
    keepalive_seconds: float = 30.0
    """A server that says nothing for so long while calls are open is pinged."""
    keepalive_timeout_seconds: float = 10.0
    """How long the answer to that may take. Then the connection is closed and its calls fail."""


class Channel:
    """Calls to one server. Make it inside a running loop; it connects when the first call needs it.

    `unary` tries again what the server said it never looked at (RFC 9113, section 8.7), a few times within
    its deadline. Nothing else is retried: a call that failed with UNAVAILABLE may have reached the server.
    """

    def __init__(
        self,
        address: str,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
        options: ChannelOptions | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """`address` is host:port or unix:path. `tls` is a `tls_client_context`, which checks `server_name`,
        by default the host. `uniform` spreads attempts to connect.
        """
        self._address = address
        self._tls = tls
        self._options = options or ChannelOptions()
        self._loop = asyncio.get_running_loop()
        self._flusher = Flusher(self._loop)
        self._host, _, self._port = address.rpartition(":")
        self._server_name = server_name or self._host.strip("[]")
        self._authority = server_name or ("localhost" if address.startswith("unix:") else address)
        self._uniform = uniform
        self._backoff = Backoff(
            self._options.first_backoff_seconds, self._options.longest_backoff_seconds, uniform
        )
        self._connection: ClientConnection | None = None
        # Those that were told to go and still have calls.
        self._retired: set[ClientConnection] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._refused_until = 0.0
        self._refused_because = ""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def unary(
        self, path: str, request: bytes, *, metadata: Metadata = (), timeout: float | None = None
    ) -> bytes:
        """Make a call with one request and one response. Raises CallFailed."""
        until = None if timeout is None else self._loop.time() + timeout
        for pause_seconds in _RETRY_SECONDS:
            try:
                return await self._unary(path, request, metadata, _left(until, self._loop))
            except CallFailed as failed:
                if not failed.unprocessed or self._closed:
                    raise
            await asyncio.sleep(pause_seconds * self._uniform(0.5, 1.5))
        return await self._unary(path, request, metadata, _left(until, self._loop))

    async def _unary(self, path: str, request: bytes, metadata: Metadata, timeout: float | None) -> bytes:
        async with await self.open(path, metadata=metadata, timeout=timeout) as call:
            call.send(request)
            call.done_writing()
            response = await call.read()
            if response is None:
                raise CallFailed(grpc.StatusCode.INTERNAL, "the response has no message")
            if await call.read() is not None:
                raise CallFailed(grpc.StatusCode.INTERNAL, "the response has more than one message")
            return response

    async def open(self, path: str, *, metadata: Metadata = (), timeout: float | None = None) -> ClientCall:
        """Open a call of any kind; waits for the connection and for the server to take one more.

        Raises CallFailed (UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED), and ValueError or TypeError
        for metadata that cannot be sent.
        """
        until = None if timeout is None else self._loop.time() + timeout
        try:
            async with asyncio.timeout(timeout):
                connection = await self._ready()
        except TimeoutError:
            raise CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None
        left = _left(until, self._loop)
        scheme = "http" if self._tls is None else "https"
        return connection.open(request_block(path, self._authority, scheme, metadata, left), left)

    async def close(self) -> None:
        """Close the connections; open calls fail with UNAVAILABLE. Nothing runs when it returns."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        connections = [*self._retired, *([self._connection] if self._connection else [])]
        for connection in connections:
            connection.close("the channel was closed")
        if connections:
            await asyncio.wait([connection.closed for connection in connections])
        self._changed()

    async def __aenter__(self) -> Channel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Inside

    async def _ready(self) -> ClientConnection:
        """A connection that takes a call now."""
        while True:
            if self._closed:
                raise CallFailed(grpc.StatusCode.UNAVAILABLE, "the channel was closed")
            connection = self._connection
            if connection is None or connection.retired:
                await self._connect()
            elif connection.can_open:
                return connection
            else:
                await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        if len(self._waiting) >= self._options.waiting_calls:
            raise CallFailed(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls wait for the server")
        room: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(room)
        try:
            await room
        except asyncio.CancelledError:
            if room.cancelled():
                with contextlib.suppress(ValueError):
                    self._waiting.remove(room)
            else:
                # Its turn had come: it is the next one's.
                self._changed()
            raise

    async def _connect(self) -> None:
        """Connect, together with whoever else needs it. Raises CallFailed."""
        if self._connecting is None:
            if self._loop.time() < self._refused_until:
                raise CallFailed(grpc.StatusCode.UNAVAILABLE, self._refused_because)
            self._connecting = self._loop.create_task(self._attempt())
        connecting = self._connecting
        await asyncio.wait([connecting])
        if self._refused_because and (self._connection is None or self._connection.retired):
            raise CallFailed(grpc.StatusCode.UNAVAILABLE, self._refused_because)

    async def _attempt(self) -> None:
        if self._connection is not None and self._connection.core.streams.open:
            self._retired.add(self._connection)
        self._connection = None
        connection = ClientConnection(self._options, self._flusher, self._loop, self._changed)
        try:
            async with asyncio.timeout(self._options.connect_seconds):
                await self._open_socket(connection)
                await connection.ready
                if connection.retired:
                    raise ConnectionError("the server sends everybody away")
        except asyncio.CancelledError:
            self._give_up(connection)
            raise
        except (OSError, TimeoutError) as error:
            self._give_up(connection)
            if connection.ready.done() and not connection.ready.cancelled():
                connection.ready.exception()
            self._refused_because = f"cannot connect to {self._address}: {str(error) or 'it took too long'}"
            self._refused_until = self._loop.time() + self._backoff.failed()
        else:
            self._backoff.succeeded()
            self._refused_because = ""
            self._connection = connection
        finally:
            self._connecting = None

    def _give_up(self, connection: ClientConnection) -> None:
        """Close a connection that was never used; its socket may be open already."""
        if connection.connected:
            self._retired.add(connection)
            connection.close("connecting failed")

    async def _open_socket(self, connection: ClientConnection) -> None:
        def factory() -> ClientConnection:
            return connection

        name = self._server_name if self._tls is not None else None
        if self._address.startswith("unix:"):
            path = self._address.removeprefix("unix:")
            await self._loop.create_unix_connection(factory, path, ssl=self._tls, server_hostname=name)
        else:
            host = self._host.strip("[]")
            await self._loop.create_connection(
                factory, host, int(self._port), ssl=self._tls, server_hostname=name
            )

    def _changed(self) -> None:
        """Something about a connection changed: let as many waiting calls look as may find room."""
        self._retired = {connection for connection in self._retired if not connection.closed.done()}
        connection = self._connection
        room = len(self._waiting)
        if connection is not None and not connection.retired:
            room = min(room, connection.core.remote.streams - len(connection.core.streams.open))
        while room > 0 and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                room -= 1
                waiting.set_result(None)


def _left(until: float | None, loop: asyncio.AbstractEventLoop) -> float | None:
    return None if until is None else until - loop.time()
