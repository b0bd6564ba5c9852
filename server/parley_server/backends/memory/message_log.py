"""Channel logs in this process's memory: lost when it ends."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from parley_server.ports.message_log import AppendResult, Committed, Conflict, LogPage, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ACTIVE_MINUTES_KEPT: Final = 60


@dataclass(slots=True)
class _Channel:
    rows: list[Row] = field(default_factory=list)
    batch_ids: list[bytes] = field(default_factory=list)
    message_seqs: list[int] = field(default_factory=list)
    fanned: int = 0


class MemoryMessageLog:
    """MessageLog as lists. No call suspends, so each is one atomic step."""

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}
        self._active: dict[int, dict[int, dict[str, None]]] = {}

    async def append(
        self, channel_id: str, expected_head: int, rows: Sequence[Row], batch_id: bytes
    ) -> AppendResult:
        """See MessageLog. Raises ValueError when `rows` is empty or not dense from `expected_head + 1`."""
        check_rows(expected_head, rows)
        channel = self._channels.get(channel_id)
        head = 0 if channel is None else len(channel.rows)
        if head != expected_head:
            return Conflict(head)
        if channel is None:
            channel = self._channels[channel_id] = _Channel()
        channel.rows.extend(rows)
        channel.batch_ids.extend([batch_id] * len(rows))
        channel.message_seqs.extend(row.seq for row in rows if row.is_message)
        return Committed()

    async def head(self, channel_id: str) -> int:
        """See MessageLog."""
        channel = self._channels.get(channel_id)
        return 0 if channel is None else len(channel.rows)

    async def batch_at(self, channel_id: str, seq: int) -> bytes | None:
        """See MessageLog."""
        channel = self._channels.get(channel_id)
        if channel is None or not 1 <= seq <= len(channel.rows):
            return None
        return channel.batch_ids[seq - 1]

    async def read(
        self,
        channel_id: str,
        from_seq: int,
        to_seq: int,
        *,
        limit: int,
        limit_bytes: int,
        newest_first: bool = False,
        only_messages: bool = False,
    ) -> LogPage:
        """See MessageLog."""
        channel = self._channels.get(channel_id)
        if channel is None:
            return LogPage((), 0, False)
        head = len(channel.rows)
        first, last = max(from_seq, 1), min(to_seq, head)
        seqs: Iterable[int]
        if only_messages:
            low, high = bisect_left(channel.message_seqs, first), bisect_right(channel.message_seqs, last)
            places = range(high - 1, low - 1, -1) if newest_first else range(low, high)
            seqs = (channel.message_seqs[place] for place in places)
        else:
            seqs = range(last, first - 1, -1) if newest_first else range(first, last + 1)
        rows: list[Row] = []
        left_bytes = limit_bytes
        for seq in seqs:
            row = channel.rows[seq - 1]
            left_bytes -= len(row.event)
            if rows and (len(rows) >= limit or left_bytes < 0):
                return LogPage(tuple(rows), head, True)
            rows.append(row)
        return LogPage(tuple(rows), head, False)

    async def pick(self, channel_id: str, seqs: Sequence[int]) -> tuple[Row, ...]:
        """See MessageLog."""
        channel = self._channels.get(channel_id)
        rows = [] if channel is None else channel.rows
        return tuple(rows[seq - 1] for seq in sorted(set(seqs)) if 1 <= seq <= len(rows))

    async def erase(self, channel_id: str, rows: Sequence[Row]) -> None:
        """See MessageLog."""
        channel = self._channels.get(channel_id)
        held = [] if channel is None else channel.rows
        for row in rows:
            if 1 <= row.seq <= len(held):
                old = held[row.seq - 1]
                if (old.digest, old.is_message) == (row.digest, row.is_message):
                    held[row.seq - 1] = row

    async def compact(self) -> None:
        """See MessageLog. There are no files."""

    async def fanned(self, channel_id: str) -> int:
        """See MessageLog."""
        channel = self._channels.get(channel_id)
        return 0 if channel is None else channel.fanned

    async def mark_fanned(self, channel_id: str, seq: int) -> None:
        """See MessageLog."""
        channel = self._channels.get(channel_id)
        if channel is not None:
            channel.fanned = max(channel.fanned, seq)

    async def mark_active(self, slot: int, minute: int, channel_id: str) -> None:
        """See MessageLog. Sets more than an hour older than the slot's newest are dropped."""
        minutes = self._active.setdefault(slot, {})
        minutes.setdefault(minute, {})[channel_id] = None
        oldest_kept = max(minutes) - ACTIVE_MINUTES_KEPT
        for old in [known for known in minutes if known < oldest_kept]:
            del minutes[old]

    async def active(self, slot: int, since_minute: int) -> tuple[str, ...]:
        """See MessageLog."""
        found: dict[str, None] = {}
        for minute, channels in self._active.get(slot, {}).items():
            if minute >= since_minute:
                found.update(channels)
        return tuple(found)


def check_rows(expected_head: int, rows: Sequence[Row]) -> None:
    """Raise ValueError unless `rows` is not empty and dense from `expected_head + 1`."""
    if not rows:
        raise ValueError("append needs at least one row")
    for seq, row in enumerate(rows, expected_head + 1):
        if row.seq != seq:
            raise ValueError(f"rows must be dense: expected seq {seq}, got {row.seq}")
