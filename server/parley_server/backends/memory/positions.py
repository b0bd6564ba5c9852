"""Read positions and acknowledged cursors in this process's memory: lost when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.ports.positions import NOTHING_READ, FeedCursor, ReadMark

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryPositions:
    """Positions as dictionaries. No call suspends, so each is one atomic step."""

    def __init__(self) -> None:
        self._marks: dict[tuple[str, str], ReadMark] = {}
        self._cursors: dict[tuple[str, str], FeedCursor] = {}
        self._mutes: dict[tuple[str, str], int] = {}

    async def mark_read(self, user_id: str, channel_id: str, mark: ReadMark) -> ReadMark:
        """See Positions."""
        key = (user_id, channel_id)
        held = self._marks.get(key, NOTHING_READ)
        if mark.seq <= held.seq:
            return held
        self._marks[key] = mark
        return mark

    async def read_marks(self, user_id: str, channel_ids: Sequence[str]) -> dict[str, ReadMark]:
        """See Positions."""
        marks = self._marks
        return {known: marks[user_id, known] for known in channel_ids if (user_id, known) in marks}

    async def readers(self, channel_id: str, user_ids: Sequence[str]) -> dict[str, ReadMark]:
        """See Positions."""
        marks = self._marks
        return {known: marks[known, channel_id] for known in user_ids if (known, channel_id) in marks}

    async def acknowledge(self, user_id: str, device_id: str, cursor: FeedCursor) -> FeedCursor:
        """See Positions."""
        key = (user_id, device_id)
        held = self._cursors.get(key)
        if held is not None and held.epoch == cursor.epoch and held.position >= cursor.position:
            return held
        self._cursors[key] = cursor
        return cursor

    async def acknowledged(self, user_id: str, device_id: str) -> FeedCursor | None:
        """See Positions."""
        return self._cursors.get((user_id, device_id))

    async def set_mute(self, user_id: str, channel_id: str, mute_until_ms: int) -> None:
        """See Positions."""
        if mute_until_ms:
            self._mutes[user_id, channel_id] = mute_until_ms
        else:
            self._mutes.pop((user_id, channel_id), None)

    async def mutes(self, user_id: str, channel_ids: Sequence[str]) -> dict[str, int]:
        """See Positions."""
        mutes = self._mutes
        return {known: mutes[user_id, known] for known in channel_ids if (user_id, known) in mutes}

    async def forget_user(self, user_id: str) -> None:
        """See Positions."""
        for kept in (self._marks, self._cursors, self._mutes):
            for key in [key for key in kept if key[0] == user_id]:
                del kept[key]

    async def forget_device(self, user_id: str, device_id: str) -> None:
        """See Positions."""
        self._cursors.pop((user_id, device_id), None)
