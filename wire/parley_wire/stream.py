"""One stream's state (RFC 9113, section 5.1).

    idle ──HEADERS──► open ──END_STREAM received──► half-closed (remote) ──END_STREAM sent──► closed
                       └────END_STREAM sent──────► half-closed (local) ───END_STREAM received─┘
    RST_STREAM in either direction leads to closed from anywhere.

Idle and closed streams have no object: `Streams` knows them by their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import deque

    from parley_wire.flow import ReceiveWindow


class Stream:
    """An open or half-closed stream. Plain fields: the connection and the sender are its methods."""

    __slots__ = (
        "blocked",
        "ending",
        "expected_bytes",
        "final_received",
        "held",
        "id",
        "local_closed",
        "owner",
        "queue",
        "queued_bytes",
        "ready",
        "remote_closed",
        "send_window",
        "stalled_since",
        "unread_bytes",
        "window",
    )

    def __init__(self, stream_id: int, send_window: int, window: ReceiveWindow) -> None:
        self.id = stream_id
        # The call that the shell serves with it. The core never looks inside.
        self.owner: Any = None
        # We sent, or they sent, the last frame of their direction.
        self.local_closed = False
        self.remote_closed = False
        # Bytes that the peer lets us send; negative after it shrank its initial window (section 6.9.2).
        self.send_window = send_window
        self.window = window
        # Bytes given to the shell and not yet reported as consumed.
        self.unread_bytes = 0
        # What the peer's content-length leaves to come; -1 when it named none.
        self.expected_bytes = -1
        # Client: the final response headers came, so that the next ones are trailers.
        self.final_received = False
        # Data that no window let through yet. None when there is none: most streams never need it.
        self.queue: deque[bytes | memoryview] | None = None
        self.queued_bytes = 0
        # When somebody last noticed that nothing of the queue goes; None while it moves.
        self.stalled_since: float | None = None
        # What ends our side behind the queue: a block of trailers, b"" for none, None while we go on.
        self.ending: bytes | None = None
        # It stands in the sender's round.
        self.ready = False
        # The shell was told to wait, and wants to hear when the queue is empty.
        self.blocked = False
        # A handler still runs for it, so it counts as load even when it is closed.
        self.held = False

    @property
    def closed(self) -> bool:
        """Nothing comes or goes on it any more."""
        return self.local_closed and self.remote_closed
