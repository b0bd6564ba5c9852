"""What waits to be written to one device's stream: bounded, in order. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may wait for a device, and where a frame ends. One field of any size always fits alone."""

    fields: int = 256
    waiting_bytes: int = 256 * 1024
    frame_bytes: int = 64 * 1024


class Outbox:
    """A queue of encoded fields that leaves as joined frames.

    `add` answers False, and keeps nothing, when the bound would be passed: the reader is too slow. An
    empty outbox takes one field of any size.
    """

    __slots__ = ("_fields", "_limits", "waiting_bytes")

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._fields: deque[bytes] = deque()
        self.waiting_bytes = 0

    def __len__(self) -> int:
        return len(self._fields)

    def add(self, field: bytes) -> bool:
        """Queue one encoded field. False: the bound is reached and the field was not taken."""
        size = len(field)
        if self._fields and (
            len(self._fields) >= self._limits.fields or self.waiting_bytes + size > self._limits.waiting_bytes
        ):
            return False
        self._fields.append(field)
        self.waiting_bytes += size
        return True

    def next_frame(self) -> bytes:
        """Take the next frame out: as many fields as fit, at least one. The outbox must not be empty."""
        first = self._fields.popleft()
        size = len(first)
        if not self._fields:
            self.waiting_bytes = 0
            return first
        taken = [first]
        while self._fields and size + len(self._fields[0]) <= self._limits.frame_bytes:
            field = self._fields.popleft()
            size += len(field)
            taken.append(field)
        self.waiting_bytes -= size
        return b"".join(taken)

    def clear(self) -> None:
        """Forget everything that waits."""
        self._fields.clear()
        self.waiting_bytes = 0
