"""What was handed out and what of it was acknowledged, decided without an event loop.

A position that is stored stands for everything before it: a channel's seq for all events of the channel up to
it, the cursor for all that was handed out before it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Entry:
    """Something handed out: an event or a mark of a channel's seq, or (`cursor`) the mark of a cursor."""

    channel_id: str = ""
    seq: int = 0
    cursor: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """What to store, in one step: seqs by channel id, and the cursor ("": as it was)."""

    seqs: dict[str, int]
    cursor: str


@dataclass(slots=True)
class Ledger:
    """Entries in the order in which they were handed out. `begun`: there is a stored cursor already."""

    begun: bool = False
    unacknowledged: int = 0
    _order: deque[Entry] = field(default_factory=deque)
    _by_channel: dict[str, deque[Entry]] = field(default_factory=dict)
    _seqs: dict[str, int] = field(default_factory=dict)
    _cursor: str = ""

    def hand_out(self, channel_id: str, seq: int) -> Entry:
        """An event goes to the application. Returns what to acknowledge."""
        entry = Entry(channel_id, seq)
        self._order.append(entry)
        self._by_channel.setdefault(channel_id, deque()).append(entry)
        self.unacknowledged += 1
        return entry

    def mark_seq(self, channel_id: str, seq: int) -> None:
        """The channel is at `seq` once everything of it before this is acknowledged."""
        entry = Entry(channel_id, seq, done=True)
        self._order.append(entry)
        self._by_channel.setdefault(channel_id, deque()).append(entry)
        self._advance(channel_id)

    def mark_cursor(self, cursor: str) -> None:
        """The device is at `cursor` once everything before this is acknowledged."""
        self._order.append(Entry(cursor=cursor, done=True))
        self._advance("")

    def acknowledge(self, entry: Entry) -> None:
        """The application is done with the event. Once is enough."""
        if not entry.done:
            entry.done = True
            self.unacknowledged -= 1
            self._advance(entry.channel_id)

    @property
    def has_changes(self) -> bool:
        """Whether `take_changes` would return something."""
        return bool(self._cursor) or (self.begun and bool(self._seqs))

    def take_changes(self) -> Changes | None:
        """What is new to be stored since the last call.

        Nothing before the first cursor: seqs alone would make a device look as if it knew all its channels.
        """
        if not self.has_changes:
            return None
        changes = Changes(self._seqs, self._cursor)
        self._seqs, self._cursor, self.begun = {}, "", True
        return changes

    def _advance(self, channel_id: str) -> None:
        own = self._by_channel.get(channel_id)
        if own is not None:
            while own and own[0].done:
                self._seqs[channel_id] = own.popleft().seq
            if not own:
                del self._by_channel[channel_id]
        while self._order and self._order[0].done:
            self._cursor = self._order.popleft().cursor or self._cursor
