"""Clients that take a port for one of the other kind. They learn little more than that the connection was
closed, so the operator is told.
"""

from __future__ import annotations

from parley_wire.log import log
from parley_wire.meter import Meter

_SPOKE_TLS = (
    "%s spoke TLS to %s, a port without TLS: let the client connect in plain text, or give the port a "
    "certificate%s"
)
_SPOKE_PLAIN_TEXT = (
    "%s spoke plain text (HTTP/2, most likely) to %s, a port with TLS: let the client connect with TLS%s"
)


class MistakenClients:
    """Logs them, `lines_per_minute` at most; those beyond are counted, and told with the next line."""

    def __init__(self, lines_per_minute: int) -> None:
        self._meter = Meter(lines_per_minute, lines_per_minute / 60)
        self._untold = 0

    def spoke_tls(self, peer: str, port: str, now_seconds: float) -> None:
        """A TLS client came to a plain-text port. Both addresses as grpc prints them."""
        self._tell(_SPOKE_TLS, peer, port, now_seconds)

    def spoke_plain_text(self, peer: str, port: str, now_seconds: float) -> None:
        """Something that is not TLS came to a TLS port."""
        self._tell(_SPOKE_PLAIN_TEXT, peer, port, now_seconds)

    def _tell(self, line: str, peer: str, port: str, now_seconds: float) -> None:
        if not self._meter.take(now_seconds):
            self._untold += 1
            return
        more = f" ({self._untold} more like it were not logged)" if self._untold else ""
        self._untold = 0
        log.warning(line, peer, port, more)
