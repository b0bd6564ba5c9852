"""Listening sockets: bound when a port is added, serving once the server starts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from typing import TYPE_CHECKING

from parley_wire.log import log
from parley_wire.peer_identity import peer_text

if TYPE_CHECKING:
    from parley_wire.server import Server


_ACCEPT_AT_ONCE = 64
BREATH_SECONDS = 0.5
"""How long no connection is accepted when there was no file descriptor for one."""
# What OpenSSL says of a first record that cannot be TLS.
_NO_TLS_REASONS = frozenset(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST"))


class Listener:
    """One address. Bound from the start, so that its port is known. Raises RuntimeError if it cannot be."""

    def __init__(self, server: Server, address: str, context: ssl.SSLContext | None) -> None:
        self._server = server
        self._context = context
        self._socket = bind(address, server.options.backlog, reuse_port=server.options.reuse_port)
        self._path = address.removeprefix("unix:") if address.startswith("unix:") else ""
        self._inode = _inode(self._path)
        self._name = self._socket.getsockname()
        self._accepting: asyncio.Server | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._breath: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port as bound; 1 for a unix socket, as grpc says."""
        return 1 if self._path else int(self._name[1])

    async def start(self) -> None:
        """Accept connections."""
        server = self._server
        if self._context is not None:
            # Accepting by ourselves: a loop's own server neither bounds handshakes nor tells of failed ones.
            server.loop.add_reader(self._socket, self._accept)
        else:
            self._accepting = await server.loop.create_server(
                server.connection, sock=self._socket, backlog=server.options.backlog
            )

    def close(self) -> None:
        """Accept no more; unfinished handshakes end. Not while `start` runs."""
        # First: while the socket is open nobody takes its place, so that this is no other server's file.
        if self._path and _inode(self._path) == self._inode:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
        if self._accepting is not None:
            self._accepting.close()
        elif self._context is not None:
            self._server.loop.remove_reader(self._socket)
        if self._breath is not None:
            self._breath.cancel()
        self._socket.close()
        for handshake in self._handshakes:
            handshake.cancel()

    async def wait_closed(self) -> None:
        """After `close`: until the last handshake has ended."""
        if self._handshakes:
            await asyncio.wait(self._handshakes)

    def _accept(self) -> None:
        loop = self._server.loop
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                accepted, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # No file descriptors left, most likely: others must end before it makes sense to go on.
                log.error("cannot accept connections: %s", error)
                loop.remove_reader(self._socket)
                self._breath = loop.call_later(BREATH_SECONDS, loop.add_reader, self._socket, self._accept)
                return
            if len(self._handshakes) >= self._server.options.unfinished_handshakes:
                accepted.close()
                continue
            accepted.setblocking(False)
            handshake = loop.create_task(self._shake_hands(accepted, address))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket, address: object) -> None:
        """TLS, after which the connection has a transport and lives by itself."""
        server = self._server
        try:
            await server.loop.connect_accepted_socket(
                server.connection,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=server.options.handshake_seconds,
            )
        except ssl.SSLError as error:
            accepted.close()
            if error.reason in _NO_TLS_REASONS:
                server.mistaken_clients.spoke_plain_text(
                    peer_text(address), peer_text(self._name), server.loop.time()
                )
        except (OSError, TimeoutError, asyncio.CancelledError):
            # It went away, it was too slow, or we stop.
            accepted.close()


def bind(address: str, backlog: int, *, reuse_port: bool) -> socket.socket:
    """A socket for `host:port`, `[::1]:port` or `unix:path`. Raises RuntimeError with the reason.

    A file that the socket of a dead process left behind is replaced.
    """
    try:
        if address.startswith("unix:"):
            path = address.removeprefix("unix:")
            _remove_left_over(path)
            return _bound(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path, backlog)
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
        return _bound(bound, name, backlog)
    except OSError as error:
        bound.close()
        raise RuntimeError(f"cannot listen on {address}: {error}") from error


def _bound(bound: socket.socket, name: object, backlog: int) -> socket.socket:
    try:
        bound.setblocking(False)
        bound.bind(name)  # type: ignore[arg-type]
        # From here on nobody else gets the address; connections wait until the server starts.
        bound.listen(backlog)
    except OSError:
        bound.close()
        raise
    return bound


def _remove_left_over(path: str) -> None:
    """Remove a socket's file if nobody listens there. Anything else stays, and is in the way."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:
            # Somebody listens, and is busy.
            pass


def _inode(path: str) -> tuple[int, int]:
    """Which file a path names at present; (0, 0) for none."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino
