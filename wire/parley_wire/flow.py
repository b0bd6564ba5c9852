"""What we let a peer send: the receiving half of flow control (RFC 9113, sections 5.2 and 6.9)."""

from __future__ import annotations


class ReceiveWindow:
    """Counts what comes in and says when to open the window again: once half of it was consumed.

    A peer that keeps to it never has more than `size_bytes` on its way to us unconsumed.
    """

    __slots__ = ("_consumed", "_left", "size_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._left = size_bytes
        self._consumed = 0

    @property
    def left_bytes(self) -> int:
        """What the peer may still send. Negative after the window was made smaller."""
        return self._left

    @property
    def uncredited_bytes(self) -> int:
        """Bytes that were consumed and that the peer has not been told of."""
        return self._consumed

    def received(self, size_bytes: int) -> bool:
        """Count bytes that came. False: the peer sent more than it was allowed to."""
        self._left -= size_bytes
        return self._left >= 0

    def consumed(self, size_bytes: int) -> int:
        """Count bytes that are done with. The answer is the increment to send, 0 for none yet."""
        self._consumed = consumed = self._consumed + size_bytes
        if consumed * 2 < self.size_bytes:
            return 0
        self._left += consumed
        self._consumed = 0
        return consumed

    def resize(self, size_bytes: int) -> None:
        """The peer took note of another initial size (section 6.9.2)."""
        self._left += size_bytes - self.size_bytes
        self.size_bytes = size_bytes
