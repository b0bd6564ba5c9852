"""What waits to be written on one connection, and in which order it goes (RFC 9113, sections 5.2 and 6.9).

Frames that may go at once are put in `out`; the shell joins them into one write. Data that a window or the
socket holds up waits on its stream, and streams with waiting data take turns, one frame each: a large message
never stands in the way of small ones.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from parley_wire import frames
from parley_wire.frames import DATA, DEFAULT_FRAME_BYTES, END_STREAM, HEAD, HEAD_BYTES, LARGEST_WINDOW
from parley_wire.headers import TABLE_BYTES_ZERO
from parley_wire.settings import DEFAULT_WINDOW_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from parley_wire.stream import Stream


_DROPPED_AT_MOST = 64


class Sender:
    """The sending half of a connection. `ended` is called when our side of a stream has been sent whole."""

    __slots__ = (
        "_ended",
        "_flush_bytes",
        "_ready",
        "_room",
        "_table_update",
        "control_bytes",
        "data_frames",
        "drained",
        "initial_window",
        "out",
        "paused",
        "queued_bytes",
        "waiting_streams",
        "window",
    )

    def __init__(self, flush_bytes: int, ended: Callable[[Stream], None]) -> None:
        self._ended = ended
        self._flush_bytes = flush_bytes
        # Bytes that may still join the present write before streams must queue.
        self._room = flush_bytes
        # Streams whose turn comes; some of them may have been dropped since.
        self._ready: deque[Stream] | None = None
        # How many streams have something that waits.
        self.waiting_streams = 0
        self._table_update = False
        self.out: list[bytes] = []
        # The peer's initial window for streams, and what is left of the connection's.
        self.initial_window = DEFAULT_WINDOW_BYTES
        self.window = DEFAULT_WINDOW_BYTES
        # Streams whose queue ran empty after their owner was told to wait. None for none.
        self.drained: list[Stream] | None = None
        self.paused = False
        # The socket takes no more for now. Bytes of frames other than DATA in `out`.
        self.control_bytes = 0
        # DATA frames sent since somebody last looked.
        self.data_frames = 0
        # Bytes that wait on all streams.
        self.queued_bytes = 0

    # Commands

    def control(self, frame: bytes) -> None:
        """Put a frame other than DATA in the output."""
        self.out.append(frame)
        self.control_bytes += len(frame)

    def headers(self, stream: Stream, block: bytes, *, end_stream: bool) -> None:
        """Send a header block at once. Nothing may wait on the stream."""
        if self._table_update:
            self._table_update = False
            block = TABLE_BYTES_ZERO + block
        self.control(frames.headers(stream.id, block, end_stream=end_stream))
        if end_stream:
            self._ended(stream)

    def data_frame(self, stream: Stream, frame: bytes) -> bool:
        """Send a whole DATA frame, without END_STREAM, that may be shared with other connections.

        False: it waits, and the stream is put in `drained` once everything went.
        """
        size = len(frame) - HEAD_BYTES
        if (
            stream.queue is None
            and size <= self._room
            and size <= self.window
            and size <= stream.send_window
            and not self._ready
        ):
            self.window -= size
            stream.send_window -= size
            self._room -= size
            self.data_frames += 1
            self.out.append(frame)
            return True
        self._enqueue(stream, frame[HEAD_BYTES:])
        return False

    def whole_frames(self, stream: Stream, frames: bytes, payload_bytes: int) -> bool:
        """Send DATA frames if all of them may go at once. False: none was taken."""
        if (
            stream.queue is not None
            or payload_bytes > self._room
            or payload_bytes > self.window
            or payload_bytes > stream.send_window
            or self._ready
        ):
            return False
        self.window -= payload_bytes
        stream.send_window -= payload_bytes
        self._room -= payload_bytes
        self.data_frames += -(-payload_bytes // DEFAULT_FRAME_BYTES)
        self.out.append(frames)
        return True

    def data(self, stream: Stream, data: bytes) -> bool:
        """Send bytes in as many frames as it takes. False as for `data_frame`."""
        size = len(data)
        if size <= DEFAULT_FRAME_BYTES:
            head = HEAD.pack(size >> 16, size & 0xFFFF, DATA, 0, stream.id)
            return self.data_frame(stream, head + data)
        self._enqueue(stream, data)
        if not self.paused:
            self.pump()
        if stream.queue is not None:
            return False
        # It all went, and the owner was never told to wait.
        stream.blocked = False
        if self.drained is not None:
            self.drained.remove(stream)
            self.drained = self.drained or None
        return True

    def end(self, stream: Stream, trailers: bytes) -> None:
        """End our side once everything before was sent: with a block of trailers, or b"" for none."""
        stream.ending = trailers
        if stream.queue is None:
            self._end_now(stream)

    def drop(self, stream: Stream) -> None:
        """The stream is gone: what waits on it is never sent."""
        if stream.queue is not None:
            self.waiting_streams -= 1
            self.queued_bytes -= stream.queued_bytes
            stream.queue = None
            stream.queued_bytes = 0
        stream.ending = None

    def keep_begun(self, stream: Stream) -> None:
        """Drop what waits on a stream, but for the rest of a piece of which some was sent already."""
        queue = stream.queue
        rest = queue[0] if queue and isinstance(queue[0], memoryview) else None
        self.drop(stream)
        if rest is not None:
            self._enqueue(stream, rest)

    def pause(self) -> None:
        """The socket takes no more for now: data waits on its stream from here on."""
        self.paused = True
        self._room = 0

    def resume(self) -> None:
        """The socket takes more again."""
        self.paused = False
        self._room = self._flush_bytes

    def trim(self) -> None:
        """Give back what only a busy connection needs."""
        if not self._ready:
            self._ready = None

    def close(self) -> None:
        """Forget everything."""
        self._ended = _nothing
        self._ready = None
        self.out.clear()
        self.drained = None

    # What the peer changes

    def window_opened(self, increment: int) -> bool:
        """The connection's window grew. False: beyond what a window can be."""
        self.window += increment
        return self.window <= LARGEST_WINDOW

    def stream_window_opened(self, stream: Stream, increment: int) -> bool:
        """A stream's window grew. False: beyond what a window can be."""
        stream.send_window += increment
        self._make_ready(stream)
        return stream.send_window <= LARGEST_WINDOW

    def table_lowered(self) -> None:
        """The peer allows a smaller header table: the next block says that we use none (RFC 7541, 4.2)."""
        self._table_update = True

    # Output

    def pump(self) -> None:
        """Move what waits into `out`, in turns, as far as windows and room allow."""
        ready = self._ready
        while ready and self._room > 0 and self.window > 0:
            stream = ready.popleft()
            if stream.queue is None or stream.send_window <= 0:
                stream.ready = False
                continue
            self._send_piece(stream)
            if stream.queue is None:
                stream.ready = False
                if stream.ending is not None:
                    self._end_now(stream)
                if stream.blocked:
                    if self.drained is None:
                        self.drained = []
                    self.drained.append(stream)
            else:
                ready.append(stream)

    def take(self) -> bytes:
        """Everything that may be written now, and room for as much again."""
        if self._ready:
            self.pump()
        out = self.out
        self._room = self._flush_bytes
        self.control_bytes = 0
        if len(out) == 1:
            return out.pop()
        joined = b"".join(out)
        out.clear()
        return joined

    @property
    def has_more(self) -> bool:
        """Whether `take` would have something to give."""
        return bool(self.out) or (bool(self._ready) and self.window > 0)

    @property
    def ready(self) -> deque[Stream]:
        """Streams whose turn comes, in order; some of them may have been dropped since."""
        return self._ready or deque()

    # Inside

    def _enqueue(self, stream: Stream, data: bytes | memoryview) -> None:
        if stream.queue is None:
            stream.queue = deque()
            self.waiting_streams += 1
        stream.queue.append(data)
        stream.queued_bytes += len(data)
        self.queued_bytes += len(data)
        stream.blocked = True
        self._make_ready(stream)

    def _make_ready(self, stream: Stream) -> None:
        if stream.queue is not None and not stream.ready and stream.send_window > 0:
            stream.ready = True
            if self._ready is None:
                self._ready = deque()
            elif len(self._ready) > 2 * self.waiting_streams + _DROPPED_AT_MOST:
                self._clear_dropped()
            self._ready.append(stream)

    def _clear_dropped(self) -> None:
        """Nobody takes turns while the connection's window is shut, and what was dropped would pile up."""
        kept: deque[Stream] = deque()
        for stream in self._ready or ():
            if stream.queue is not None:
                kept.append(stream)
            else:
                stream.ready = False
        self._ready = kept

    def _send_piece(self, stream: Stream) -> None:
        """One DATA frame of what waits, joined from small pieces or cut from a large one."""
        queue = stream.queue
        assert queue is not None
        allowed = min(DEFAULT_FRAME_BYTES, self.window, stream.send_window)
        parts: list[bytes | memoryview] = []
        size = 0
        while queue and size < allowed:
            part = queue.popleft()
            if size + len(part) > allowed:
                # Views of one message, so that cutting a large one does not copy its rest each time.
                view = memoryview(part)
                queue.appendleft(view[allowed - size :])
                part = view[: allowed - size]
            parts.append(part)
            size += len(part)
        last = not queue and stream.ending == b""
        flags = END_STREAM if last else 0
        self.out.append(b"".join((HEAD.pack(size >> 16, size & 0xFFFF, DATA, flags, stream.id), *parts)))
        self.data_frames += 1
        self.window -= size
        stream.send_window -= size
        stream.queued_bytes -= size
        self.queued_bytes -= size
        self._room -= size
        stream.stalled_since = None
        if not queue:
            stream.queue = None
            self.waiting_streams -= 1
            if last:
                stream.ending = None
                self._ended(stream)

    def _end_now(self, stream: Stream) -> None:
        trailers = stream.ending
        stream.ending = None
        if trailers:
            self.headers(stream, trailers, end_stream=True)
        else:
            self.out.append(HEAD.pack(0, 0, DATA, END_STREAM, stream.id))
            self._ended(stream)


def _nothing(_stream: Stream) -> None:
    pass
