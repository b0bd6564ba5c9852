"""DATA frames for many connections: an event that goes to a thousand devices is framed once."""

from __future__ import annotations

from parley_wire.frames import DATA, DEFAULT_FRAME_BYTES, frame, whole_message
from parley_wire.messages import LARGEST_FRAMED_BYTES, prefixed


class SharedFrame:
    """Remembers the last message's frames. They fit again if the same bytes go out on a stream of the same
    number: every device has one stream, so most do.
    """

    __slots__ = ("_frames", "_message", "_stream_id")

    def __init__(self) -> None:
        self._message = b""
        self._stream_id = 0
        self._frames = b""

    def of(self, stream_id: int, message: bytes) -> bytes:
        """The DATA frames of a message of at most LARGEST_SHARED_BYTES: one up to LARGEST_FRAMED_BYTES."""
        if message is not self._message or stream_id != self._stream_id:
            self._frames = _framed(stream_id, message)
            self._message = message
            self._stream_id = stream_id
        return self._frames


def _framed(stream_id: int, message: bytes) -> bytes:
    if len(message) <= LARGEST_FRAMED_BYTES:
        return whole_message(stream_id, message)
    body = prefixed(message)
    cuts = range(0, len(body), DEFAULT_FRAME_BYTES)
    return b"".join(frame(DATA, 0, stream_id, body[at : at + DEFAULT_FRAME_BYTES]) for at in cuts)
