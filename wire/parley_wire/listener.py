"""Listening sockets: bound when a port is added, serving once the server starts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import ssl

    from parley_wire.server import Server


class Listener:
    """One address. Bound from the start, so that its port is known. Raises RuntimeError if it cannot be."""

    def __init__(self, server: Server, address: str, context: ssl.SSLContext | None) -> None:
        self._server = server
        self._context = context
        self._sockets = bind(address, reuse_port=server.options.reuse_port)
        self._path = address.removeprefix("unix:") if address.startswith("unix:") else ""
        self._accepting: list[asyncio.Server] = []
        self._upgrades: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port as bound; 1 for a unix socket, as grpc says."""
        return 1 if self._path else int(self._sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Accept connections."""
        loop = self._server.loop
        factory = self._server.connection if self._context is None else self._gate
        for bound in self._sockets:
            self._accepting.append(
                await loop.create_server(factory, sock=bound, backlog=self._server.options.backlog)
            )

    def close(self) -> None:
        """Accept no more; unfinished handshakes end."""
        for accepting in self._accepting:
            accepting.close()
        for bound in self._sockets:
            bound.close()
        for upgrade in self._upgrades:
            upgrade.cancel()
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _gate(self) -> TlsGate:
        return TlsGate(self)

    def upgrade(self, transport: asyncio.Transport, gate: TlsGate) -> None:
        """Begin a TLS handshake, unless there are too many."""
        if len(self._upgrades) >= self._server.options.unfinished_handshakes:
            transport.abort()
            return
        task = self._server.loop.create_task(self._shake_hands(transport, gate))
        self._upgrades.add(task)
        task.add_done_callback(self._upgrades.discard)

    async def _shake_hands(self, transport: asyncio.Transport, gate: TlsGate) -> None:
        context = self._context
        assert context is not None
        connection = self._server.connection()
        try:
            secured = await self._server.loop.start_tls(
                transport,
                connection,
                context,
                server_side=True,
                ssl_handshake_timeout=self._server.options.handshake_seconds,
            )
        except (OSError, TimeoutError, asyncio.CancelledError):
            # Nobody that speaks TLS, or too slowly. ssl.SSLError is an OSError.
            transport.abort()
            return
        if secured is None:
            return
        tls = secured.get_extra_info("ssl_object")
        if tls.selected_alpn_protocol() != "h2":
            # RFC 9113, section 3.2: without ALPN the client does not speak HTTP/2.
            secured.close()
            return
        connection.connection_made(secured)


class TlsGate(asyncio.Protocol):
    """Holds a new socket until its TLS handshake begins."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods without the base class. The first bytes are TLS's.
        transport = cast("asyncio.Transport", transport)
        transport.pause_reading()
        self._listener.upgrade(transport, self)


def bind(address: str, *, reuse_port: bool) -> list[socket.socket]:
    """Sockets for `host:port`, `[::1]:port` or `unix:path`. Raises RuntimeError with the reason."""
    try:
        if address.startswith("unix:"):
            bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            return [_bound(bound, address.removeprefix("unix:"))]
        host, _, port = address.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        found = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, ValueError) as error:
        raise RuntimeError(f"cannot listen on {address}: {error}") from error
    family, kind, protocol, _, name = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        return [_bound(bound, name)]
    except OSError as error:
        bound.close()
        raise RuntimeError(f"cannot listen on {address}: {error}") from error


def _bound(bound: socket.socket, name: object) -> socket.socket:
    bound.setblocking(False)
    bound.bind(name)  # type: ignore[arg-type]
    # From here on nobody else gets the address; connections wait until the server starts.
    bound.listen()
    return bound
