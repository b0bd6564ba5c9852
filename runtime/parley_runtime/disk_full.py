"""A full disk: an expected failure, met by every call at once. It is logged once a minute, not each time."""

from __future__ import annotations

import threading
import time

from parley_runtime.logs import get_logger

DISK_FULL = "the disk is full"
"""The cause, as stores name it."""

SAID_EVERY_SECONDS = 60.0

log = get_logger(__name__)


class RareLine:
    """When a line that would be logged again and again is due. Any thread may ask."""

    def __init__(self, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._said_at: float | None = None
        self._unsaid = 0
        self._lock = threading.Lock()

    def due(self, now_seconds: float) -> int | None:
        """How often it was not said since it was said last, None when it is too early to say it again."""
        with self._lock:
            if self._said_at is not None and now_seconds - self._said_at < self._every_seconds:
                self._unsaid += 1
                return None
            unsaid, self._said_at, self._unsaid = self._unsaid, now_seconds, 0
            return unsaid


_line = RareLine(SAID_EVERY_SECONDS)


def is_disk_full(cause: str) -> bool:
    """Whether the text names a full disk as the cause, in our words or in SQLite's own ("database or disk is
    full").
    """
    return "disk is full" in cause


def note_disk_full() -> None:
    """Log that the disk is full, at most once a minute."""
    unsaid = _line.due(time.monotonic())
    if unsaid is not None:
        log.error(
            "the disk is full: nothing can be stored until there is room; what was stored is safe, and all "
            "goes on by itself then",
            also_met=unsaid,
        )
