"""One write per connection and tick: whoever has something to say is written once, when the tick is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from parley_wire.log import log

if TYPE_CHECKING:
    import asyncio


class Flushable(Protocol):
    """A connection with output."""

    dirty: bool

    def flush(self) -> None:
        """Write what may be written."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class Flusher:
    """Collects connections with output and flushes them together, by one callback of the loop."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Flushable] = []

    def add(self, connection: Flushable) -> None:
        """Flush it soon. Ask only if it is not `dirty` already."""
        connection.dirty = True
        if not self._waiting:
            self._loop.call_soon(self._soon)
        self._waiting.append(connection)

    def _soon(self) -> None:
        # Whatever this tick woke runs before the next one ends: an answer joins the event that it followed,
        # and both go out in one write.
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            connection.dirty = False
            flush_now(connection)


def flush_now(connection: Flushable) -> None:
    """Flush one. A defect of ours or of a handler ends it, and only it: the others of this tick would stay
    dirty for ever, and silent.
    """
    try:
        connection.flush()
    except Exception:
        log.exception("a connection failed")
        connection.abort()
