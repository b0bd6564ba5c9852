"""Every bound of a connection, by name. docs/design/wire.md lists the attack that each one stops."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one peer may cost us. Raises ValueError for a value that cannot be used.

    "Gives the connection up" means GOAWAY with ENHANCE_YOUR_CALM, unless another code is named.
    """

    streams_per_connection: int = 1000
    """Streams that a client may have open, counting those whose handler still runs after a reset. One more is
    refused with REFUSED_STREAM."""
    stream_window_bytes: int = 65_535
    """Bytes of one stream that may be on their way to us unread. More is a FLOW_CONTROL_ERROR."""
    connection_window_bytes: int = 1024 * 1024
    """The same for a whole connection."""
    connection_unread_bytes: int = 4 * 1024 * 1024
    """Bytes that handlers have not read; beyond it the connection's window is not opened further."""
    header_list_bytes: int = 16 * 1024
    """Decoded headers of one request, 32 bytes added to each (RFC 9113, 10.5.1). More: the stream is refused
    with RESOURCE_EXHAUSTED."""
    header_list_hard_bytes: int = 64 * 1024
    """Beyond this the rest is not even decoded, and the connection is given up."""
    header_block_bytes: int = 32 * 1024
    """Encoded headers of one block, CONTINUATION included. More: the connection is given up."""
    continuation_frames: int = 16
    """CONTINUATION frames of one block, empty ones included. More: the connection is given up."""
    resets_burst: int = 1000
    """Streams that a client may open and reset, or make us reset, before anything else happens. Beyond burst
    and rate the connection is given up (rapid reset, MadeYouReset)."""
    resets_per_second: float = 100.0
    """How fast the allowance of resets comes back."""
    control_frames_burst: int = 10_000
    """SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA and unknown frames that a peer may send at once.
    Beyond burst, rate and what DATA sent to it allows, the connection is given up."""
    control_frames_per_second: float = 1000.0
    """How fast the allowance of control frames comes back. Each DATA frame sent gives two more."""
    pings_burst: int = 200
    """PINGs that a peer may send at once. Beyond burst, rate and one for each DATA frame sent to it, the
    connection is given up with "too_many_pings"."""
    pings_per_second: float = 1.0
    """How fast the allowance of pings comes back."""
    control_backlog_bytes: int = 64 * 1024
    """Acknowledgements, headers and resets that wait because the peer does not read. More: nothing is read
    from it either, until it does."""
    events_per_turn: int = 32
    """Requests, DATA frames and ends of streams that a client may hand over before other connections have
    their turn; the rest waits, and nothing more is read from it meanwhile."""
    flush_bytes: int = 64 * 1024
    """What is handed to the socket at once before other connections have their turn."""
    send_buffer_bytes: int = 16 * 1024 * 1024
    """Bytes that may wait on one stream for a peer which opens no window. One message of any size is taken
    into an empty buffer; more resets the stream with ENHANCE_YOUR_CALM."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < math.inf:
                raise ValueError(f"{field.name} must be greater than 0, not {value}")
        for name in ("stream_window_bytes", "connection_window_bytes"):
            if getattr(self, name) >= 2**31:
                raise ValueError(f"{name} must be less than 2 GiB: a window of HTTP/2 has 31 bits")
        if self.connection_window_bytes < 65_535:
            raise ValueError("connection_window_bytes must be at least 65535: HTTP/2 cannot shrink it")
