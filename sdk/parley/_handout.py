"""Between the stream and the application: a bounded line of events, and what becomes of their positions."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from parley._events import Event, event_of
from parley._ledger import Entry, Ledger
from parley._stored import Stored
from parley._sync import CursorMark, SeqMark

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parley._ledger import Changes
    from parley._sync import Item

EVENTS_LIMIT = 1024
BYTES_LIMIT = 4 * 1024 * 1024
"""What waits for the application. Beyond, nothing more is read from the server, which holds its own bound and
then sends from its log."""

UNACKNOWLEDGED_LIMIT = 10_000


class HandedOut:
    """By which the holder of an event acknowledges it."""

    __slots__ = ("_entry", "_handout")

    def __init__(self, handout: Handout, entry: Entry) -> None:
        self._handout = handout
        self._entry = entry

    def acknowledge(self) -> Stored:
        """The event is done with."""
        return self._handout.acknowledge(self._entry)


class Handout:
    """Items wait here until the application asks for them. It has one writer of positions, `next_changes`."""

    def __init__(self) -> None:
        self._items: deque[tuple[Item, int]] = deque()
        self._events = 0
        self._bytes = 0
        self._ledger = Ledger()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._changed = asyncio.Event()
        self._saved_news = asyncio.Event()
        self._acknowledged = self._taken = self._saved = 0
        self._store_failure: Exception | None = None
        self._over = False
        self._failure: BaseException | None = None

    def begin(self, *, stored: bool) -> None:
        """Say whether the store holds a cursor already."""
        self._ledger.begun = stored

    @property
    def waiting_events(self) -> int:
        """Events that the application has not asked for yet."""
        return self._events

    @property
    def has_room(self) -> bool:
        """Whether more is welcome."""
        return self._room.is_set()

    async def room(self) -> None:
        """Wait until more is welcome."""
        await self._room.wait()

    def put(self, items: Iterable[Item]) -> None:
        """Add to the end of the line. All of one frame or page is taken, also beyond the bound."""
        for item in items:
            if isinstance(item, SeqMark | CursorMark):
                self._items.append((item, 0))
            else:
                size = item.ByteSize()
                self._items.append((item, size))
                self._events += 1
                self._bytes += size
        self._pass_marks()
        if self._events:
            self._news.set()
        if self._events >= EVENTS_LIMIT or self._bytes >= BYTES_LIMIT:
            self._room.clear()

    def end(self, failure: BaseException | None) -> None:
        """Nothing more comes: the application gets what waits, and then `failure` (None: a regular end)."""
        self._over, self._failure = True, failure
        self._news.set()
        self._room.set()

    def drop(self) -> None:
        """Forget what waits: the application is gone, and its positions stay before it."""
        self._items.clear()
        self._events = self._bytes = 0

    async def next_event(self) -> tuple[Event, Entry] | None:
        """The next event; None at the regular end. Raises what else ended the stream.

        Raises RuntimeError while 10,000 events are handed out and not acknowledged.
        """
        if self._ledger.unacknowledged >= UNACKNOWLEDGED_LIMIT:
            raise RuntimeError(
                f"{UNACKNOWLEDGED_LIMIT} events are handed out and not acknowledged: call event.ack()"
            )
        while not self._events:
            if self._over:
                if self._failure is not None:
                    raise self._failure
                return None
            self._news.clear()
            await self._news.wait()
        raw, size = self._items.popleft()
        assert not isinstance(raw, SeqMark | CursorMark)
        self._events -= 1
        self._bytes -= size
        entry = self._ledger.hand_out(raw.channel_id, raw.seq)
        self._pass_marks()
        if self._events <= EVENTS_LIMIT // 2 and self._bytes <= BYTES_LIMIT // 2:
            self._room.set()
        return event_of(raw, HandedOut(self, entry)), entry

    def acknowledge(self, entry: Entry) -> Stored:
        """The application is done with an event."""
        self._ledger.acknowledge(entry)
        if self._ledger.has_changes:
            self._acknowledged += 1
            self._changed.set()
            return Stored(self, self._acknowledged)
        return Stored(self, self._taken)

    async def stored(self, target: int) -> None:
        """Wait until the acknowledgement of this number was written. Raises what the store raised."""
        while self._saved < target:
            if self._store_failure is not None:
                raise self._store_failure
            await self._saved_news.wait()

    async def next_changes(self) -> Changes:
        """Wait for positions to store; `saved` or `not_saved` follows."""
        while (changes := self.changes()) is None:
            self._changed.clear()
            await self._changed.wait()
        return changes

    def changes(self) -> Changes | None:
        """The positions that are to be stored now."""
        changes = self._ledger.take_changes()
        if changes is not None:
            self._taken = self._acknowledged
        return changes

    def saved(self) -> None:
        """The positions taken last are stored."""
        self._saved = self._taken
        self._wake()

    def not_saved(self, failure: Exception) -> None:
        """The store failed; it is not asked again."""
        self._store_failure = failure
        self._wake()

    def _wake(self) -> None:
        self._saved_news.set()
        self._saved_news = asyncio.Event()

    def _pass_marks(self) -> None:
        passed = False
        while self._items:
            item = self._items[0][0]
            if isinstance(item, SeqMark):
                self._ledger.mark_seq(item.channel_id, item.seq)
            elif isinstance(item, CursorMark):
                self._ledger.mark_cursor(item.cursor)
            else:
                break
            self._items.popleft()
            passed = True
        if passed and self._ledger.has_changes:
            self._changed.set()
