"""The gRPC channel under a client: its address, its encryption, its settings."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

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
)


@dataclass(frozen=True, slots=True)
class Tls:
    """Encrypt the connection and check the server's certificate.

    `root_certificate_path` is a PEM file of the authorities to trust; None means those of this system.
    """

    root_certificate_path: str | Path | None = None


def open_grpc_channel(target: str, tls: Tls | None) -> grpc.aio.Channel:
    """A channel to `target` ("host:port"). It connects when the first call is made.

    Raises OSError when the root certificate cannot be read. Must be called on the event loop that uses it.
    """
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    path = tls.root_certificate_path or ssl.get_default_verify_paths().cafile
    # Without a file of this system, gRPC falls back on the authorities it brings along.
    roots = Path(path).read_bytes() if path else None
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(roots), options=_OPTIONS)
