"""Whether what a connection writes is legal, by what its peer said and nothing else."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import hpack
import hpack.exceptions

from parley_wire import frames
from parley_wire.settings import DEFAULT_TABLE_BYTES

if TYPE_CHECKING:
    from parley_wire.streams import Streams
    from parley_wire.testing.peer import Frame


class OutputJudge:
    """Looks at every frame that one connection writes. `window`: with how much each stream begins."""

    def __init__(self, window: int) -> None:
        self._initial = window
        self._window = window
        self._windows: dict[int, int] = {}
        self._decoder = hpack.Decoder()
        # The header tables that the peer named, one for each SETTINGS that is not acknowledged yet.
        self._table_bytes = DEFAULT_TABLE_BYTES
        self._tables: deque[int] = deque()
        self._ended: set[int] = set()
        self._reset: set[int] = set()
        # Streams up to a number, but for some, of which the connection forgot how they ended.
        self._forgotten_up_to = 0
        self._remembered: frozenset[int] = frozenset()

    def opened(self, stream_id: int) -> None:
        """A stream is open."""
        self._windows[stream_id] = self._initial

    def initial_window(self, size: int) -> None:
        """The peer changed its initial window: windows of open streams move with it."""
        for stream_id in self._windows:
            self._windows[stream_id] += size - self._initial
        self._initial = size

    def header_table(self, size: int) -> None:
        """The peer wants a table of this size. Ours may not be larger once it acknowledged that."""
        self._table_bytes = size

    def settings_sent(self) -> None:
        """The peer sent SETTINGS."""
        self._tables.append(self._table_bytes)

    def trimmed(self, streams: Streams) -> None:
        """The connection forgot how streams ended."""
        self._forgotten_up_to = max(streams.highest_peer, streams.highest_local)
        self._remembered = frozenset(streams.open)

    def window_opened(self, stream_id: int, increment: int) -> None:
        """The peer takes more."""
        if stream_id == 0:
            self._window += increment
        elif stream_id in self._windows:
            self._windows[stream_id] += increment

    def fault(self, frame: Frame, *, windows: bool) -> str:
        """What is wrong with a frame that was written; "" for nothing. `windows`: they are known exactly."""
        stream_id = frame.stream_id
        if stream_id and stream_id in self._reset:
            # Section 5.4.2: another reset is allowed long after the first, and nothing else.
            forgotten = stream_id <= self._forgotten_up_to and stream_id not in self._remembered
            if frame.kind == frames.RST_STREAM and forgotten:
                return ""
            return f"frame {frame.kind} follows RST_STREAM"
        if frame.kind == frames.RST_STREAM:
            self._reset.add(stream_id)
        elif frame.kind in (frames.DATA, frames.HEADERS):
            if stream_id in self._ended:
                return f"frame {frame.kind} follows the end"
            if frame.flags & frames.END_STREAM:
                self._ended.add(stream_id)
        if windows and frame.kind == frames.SETTINGS and frame.flags & frames.ACK:
            self._decoder.max_allowed_table_size = self._tables.popleft()
        if frame.kind == frames.HEADERS:
            try:
                self._decoder.decode(frame.payload, raw=True)
            except hpack.exceptions.HPACKError as error:
                return f"headers cannot be decoded: {error}"
        elif frame.kind == frames.DATA and windows and frame.payload:
            self._window -= len(frame.payload)
            self._windows[stream_id] -= len(frame.payload)
            if self._window < 0 or self._windows[stream_id] < 0:
                return "more data than a window takes"
        return ""
