"""Client-made ids of a channel's newest events, so that a retry is recognised without reading. Pure."""

from __future__ import annotations

import msgspec

from parley_server.chat.client_id import time_of


class Sent(msgspec.Struct, frozen=True):
    """Where a client's id went, and the content it stood for."""

    seq: int
    message_no: int
    create_time_ms: int
    digest: bytes


class KnownIds:
    """The client ids of a channel's newest events.

    An id that is not here may still be in older events, but only if its own time is at most `older_until_ms`.
    Nothing is forgotten but by `shrink`: while a batch is decided every id that was looked for stays known.
    """

    __slots__ = ("_limit", "_sent", "older_until_ms")

    def __init__(self, limit: int, older_until_ms: int = -1) -> None:
        self._limit = limit
        self._sent: dict[tuple[str, str], Sent] = {}
        self.older_until_ms = older_until_ms

    def find(self, actor_id: str, client_id: str) -> Sent | None:
        """Where the id went, if it is known here."""
        return self._sent.get((actor_id, client_id))

    def may_be_older(self, actor_id: str, client_id: str) -> bool:
        """Whether the log before the known events may hold the id."""
        return (actor_id, client_id) not in self._sent and time_of(client_id) <= self.older_until_ms

    def add(self, actor_id: str, client_id: str, sent: Sent) -> None:
        """Remember an id."""
        self._sent[actor_id, client_id] = sent

    def shrink(self) -> None:
        """Between batches: forget the oldest ids beyond `limit`, and raise `older_until_ms` to theirs."""
        while len(self._sent) > self._limit:
            oldest = next(iter(self._sent))
            del self._sent[oldest]
            self.older_until_ms = max(self.older_until_ms, time_of(oldest[1]))
