"""Names for the attempts to write a batch."""

from __future__ import annotations

import itertools


class BatchIds:
    """Makes 16 bytes at a call, never the same twice: those of this process, then a count.

    Random bytes for each would do as well, but asking the system for them costs as much as a tenth of a
    message.
    """

    def __init__(self, process_bytes: bytes) -> None:
        """`process_bytes` are eight, random for each start of a node."""
        if len(process_bytes) != 8:
            raise ValueError(f"needs 8 bytes, got {len(process_bytes)}")
        self._process_bytes = process_bytes
        self._counts = itertools.count()

    def __call__(self) -> bytes:
        return self._process_bytes + next(self._counts).to_bytes(8, "big")
