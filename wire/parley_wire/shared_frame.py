"""One DATA frame for many connections: an event that goes to a thousand devices is framed once."""

from __future__ import annotations

from parley_wire.frames import whole_message


class SharedFrame:
    """Remembers the last frame. It fits again if the same bytes go out on a stream of the same number: every
    device has one stream, so most do.
    """

    __slots__ = ("_frame", "_message", "_stream_id")

    def __init__(self) -> None:
        self._message = b""
        self._stream_id = 0
        self._frame = b""

    def of(self, stream_id: int, message: bytes) -> bytes:
        """The DATA frame of a message of at most LARGEST_SHARED_BYTES."""
        if message is not self._message or stream_id != self._stream_id:
            self._frame = whole_message(stream_id, message)
            self._message = message
            self._stream_id = stream_id
        return self._frame
