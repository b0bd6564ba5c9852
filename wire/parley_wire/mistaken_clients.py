"""Clients that take a port for one of the other kind. They learn little more than that the connection was
closed, so the operator is told.
"""

from __future__ import annotations

import logging

from parley_wire.limited_log import LimitedLog

_SPOKE_TLS = (
    "%s spoke TLS to %s, a port without TLS: let the client connect in plain text, or give the port a "
    "certificate"
)
_SPOKE_PLAIN_TEXT = (
    "%s spoke plain text (HTTP/2, most likely) to %s, a port with TLS: let the client connect with TLS"
)


class MistakenClients:
    """Tells of them in the log, `lines_per_minute` at most."""

    def __init__(self, lines_per_minute: int) -> None:
        self._log = LimitedLog(lines_per_minute)

    def spoke_tls(self, peer: str, port: str, now_seconds: float) -> None:
        """A TLS client came to a plain-text port. Both addresses as grpc prints them."""
        self._log.write(logging.WARNING, _SPOKE_TLS, peer, port, now_seconds=now_seconds)

    def spoke_plain_text(self, peer: str, port: str, now_seconds: float) -> None:
        """Something that is not TLS came to a TLS port."""
        self._log.write(logging.WARNING, _SPOKE_PLAIN_TEXT, peer, port, now_seconds=now_seconds)
