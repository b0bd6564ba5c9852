"""The gRPC channel under a client: its address, its encryption, its settings."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from parley._servers import UNIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley._servers import Servers

_RECEIVE_LIMIT_BYTES = 8 * 1024 * 1024
"""Answers end at 1 MiB, though one item always fits; gRPC's own limit of 4 MiB is doubled for room."""

_OPTIONS = (
    ("grpc.max_receive_message_length", _RECEIVE_LIMIT_BYTES),
    # A dead connection is found within 80 s even when nobody answers. Servers refuse clients that ask more
    # often than every few minutes while nothing else moves; streams move with every heartbeat.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # A server that was restarted is found again within a second or two.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Repetitions are this package's own work: one place that bounds them.
    ("grpc.enable_retries", 0),
    # A new channel is a new connection, and not the silent one that it replaces.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class Tls:
    """Encrypt the connection and check the server's certificate.

    `root_certificate_path` is a PEM file of the authorities to trust; None means those of this system.
    """

    root_certificate_path: str | Path | None = None


def open_grpc_channel(target: str, tls: Tls | None) -> grpc.aio.Channel:
    """A channel to `target` ("host:port", or "unix:/path"). It connects when the first call is made.

    Raises OSError when the root certificate cannot be read, ValueError for a unix socket with TLS. Must be
    called on the event loop that uses it.
    """
    _check_tls(target, tls)
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    path = tls.root_certificate_path or ssl.get_default_verify_paths().cafile
    # Without a file of this system, gRPC falls back on the authorities it brings along.
    roots = Path(path).read_bytes() if path else None
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(roots), options=_OPTIONS)


def _check_tls(target: str, tls: Tls | None) -> None:
    if tls is not None and target.startswith(UNIX):
        raise ValueError(
            f"{target} is a socket on this machine and is spoken to without TLS: leave `tls` out"
        )


_RETIRE_SECONDS = 30.0
"""How long calls on a connection that is not used any more may still take."""


class Transport:
    """Stands for a gRPC channel to the generated stubs: each call goes to the server that is current then."""

    def __init__(self, servers: Servers, tls: Tls | None) -> None:
        self.servers = servers
        self._tls = tls
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        # What is wrong with an address or a certificate is told now.
        for address in servers.addresses:
            _check_tls(address, tls)
        self.channel()

    def channel(self) -> grpc.aio.Channel:
        """The connection to the current server."""
        address = self.servers.current
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = open_grpc_channel(address, self._tls)
        return channel

    def failed(self, address: str) -> None:
        """The server did not serve: the next one is used."""
        self.servers.failed(address)

    def silent(self, address: str) -> None:
        """The connection does not answer, though nobody closed it: the next call makes a new one."""
        self._retire(address)
        self.servers.failed(address)

    def prefer(self, endpoints: Sequence[str]) -> None:
        """A server named these, best first. Connections to servers that are not known any more are closed."""
        self.servers.prefer(endpoints)
        for address in [each for each in self._channels if each not in self.servers.addresses]:
            self._retire(address)

    async def close(self) -> None:
        """Close all connections."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        for channel in self._channels.values():
            await channel.close()

    def unary_unary(self, path: str, *arguments: Any, **named: Any) -> _Method:
        """As `grpc.aio.Channel.unary_unary`."""
        return _Method(self, "unary_unary", path, arguments, named)

    def unary_stream(self, path: str, *arguments: Any, **named: Any) -> _Method:
        """As `grpc.aio.Channel.unary_stream`."""
        return _Method(self, "unary_stream", path, arguments, named)

    def stream_stream(self, path: str, *arguments: Any, **named: Any) -> _Method:
        """As `grpc.aio.Channel.stream_stream`."""
        return _Method(self, "stream_stream", path, arguments, named)

    def _retire(self, address: str) -> None:
        channel = self._channels.pop(address, None)
        if channel is not None:
            task = asyncio.create_task(_close_later(channel), name="parley connection closing")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)


async def _close_later(channel: grpc.aio.Channel) -> None:
    try:
        await channel.close(_RETIRE_SECONDS)
    except asyncio.CancelledError:
        await channel.close()
        raise


class _Method:
    """A method that is looked up on the connection in use at each call."""

    def __init__(
        self, transport: Transport, kind: str, path: str, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        self._transport = transport
        self._kind = kind
        self._path = path
        self._arguments = arguments
        self._named = named
        self._made: tuple[grpc.aio.Channel, Any] | None = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        channel = self._transport.channel()
        if self._made is None or self._made[0] is not channel:
            method = getattr(channel, self._kind)(self._path, *self._arguments, **self._named)
            self._made = (channel, method)
        return self._made[1](*arguments, **named)
