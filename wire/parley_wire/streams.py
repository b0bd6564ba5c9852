"""The streams of one connection: which are open, which were, which never (RFC 9113, section 5.1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parley_wire.stream import Stream

_REMEMBERED = 256


class Streams:
    """Open streams by number, and a short memory of closed ones.

    Late frames on a stream that WE reset are tolerated, since the peer could not know; on one that the PEER
    ended they are errors (section 5.1, "closed").
    """

    __slots__ = ("_closed", "_local_parity", "highest_local", "highest_peer", "open", "peer_load")

    def __init__(self, *, client: bool) -> None:
        # Clients open odd streams, servers even ones.
        self._local_parity = 1 if client else 0
        self.open: dict[int, Stream] = {}
        self.highest_peer = 0
        self.highest_local = 0
        # Streams that the peer opened and that are open, or whose handler still runs.
        self.peer_load = 0
        self._closed: dict[int, bool] | None = None

    def add_peer(self, stream: Stream) -> None:
        """The peer opened a stream."""
        self.open[stream.id] = stream
        self.highest_peer = stream.id
        self.peer_load += 1

    def add_local(self, stream: Stream) -> None:
        """We opened a stream."""
        self.open[stream.id] = stream
        self.highest_local = stream.id

    def is_peers(self, stream_id: int) -> bool:
        """Whether the number belongs to streams that the peer opens."""
        return stream_id & 1 != self._local_parity

    def is_idle(self, stream_id: int) -> bool:
        """Whether the stream was never opened."""
        return stream_id > (self.highest_peer if self.is_peers(stream_id) else self.highest_local)

    def remove(self, stream: Stream, *, by_us: bool) -> None:
        """The stream is closed. `by_us`: we reset it, so late frames are to be expected."""
        if self.open.pop(stream.id, None) is None:
            return
        self.remember(stream.id, tolerated=by_us)
        if not stream.held and self.is_peers(stream.id):
            self.peer_load -= 1

    def release(self, stream: Stream) -> None:
        """The handler of a peer's stream has ended: it counts no more once it is closed."""
        if stream.held:
            stream.held = False
            if stream.closed and self.is_peers(stream.id):
                self.peer_load -= 1

    def trim(self) -> None:
        """Forget how streams ended, and give back what many open ones took: a dict never gets smaller."""
        if self._closed is not None:
            self._closed = None
            self.open = dict(self.open)

    def remember(self, stream_id: int, *, tolerated: bool) -> None:
        """Note how a stream ended; the oldest notes are forgotten."""
        closed = self._closed
        if closed is None:
            self._closed = closed = {}
        elif len(closed) >= _REMEMBERED:
            del closed[next(iter(closed))]
        closed[stream_id] = tolerated

    def late_frames_tolerated(self, stream_id: int) -> bool | None:
        """For a closed stream: True if we reset it, False if the peer knew, None if it is forgotten."""
        return None if self._closed is None else self._closed.get(stream_id)
