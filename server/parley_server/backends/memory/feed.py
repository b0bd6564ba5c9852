"""The users' feeds in this process's memory: a new process is a new epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

from parley_server.ports.feed import EpochChanged, FeedEntry, FeedPage
from parley_server.ports.positions import FeedCursor


@dataclass(slots=True)
class _UserFeed:
    position: int = 0
    # In the order of their positions: a channel that changes goes to the end.
    entries: dict[str, FeedEntry] = field(default_factory=dict)


class MemoryFeed:
    """Feed as dictionaries, the embedded default. Bounded by the number of channels that each user is in.

    `epoch` must be random for each instance: its feeds are lost with it.
    """

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._users: dict[str, _UserFeed] = {}

    async def announce(
        self, user_id: str, channel_id: str, *, head_seq: int = 0, read_seq: int = 0
    ) -> int | None:
        """See Feed."""
        user = self._users.get(user_id)
        held = None if user is None else user.entries.get(channel_id)
        held_head, held_read = (0, 0) if held is None else (held.head_seq, held.read_seq)
        if head_seq <= held_head and read_seq <= held_read:
            return None
        if user is None:
            user = self._users[user_id] = _UserFeed()
        user.position += 1
        user.entries.pop(channel_id, None)
        user.entries[channel_id] = FeedEntry(
            channel_id, user.position, max(head_seq, held_head), max(read_seq, held_read)
        )
        return user.position

    async def cursor(self, user_id: str) -> FeedCursor:
        """See Feed."""
        user = self._users.get(user_id)
        return FeedCursor(self._epoch, 0 if user is None else user.position)

    async def changed_since(self, user_id: str, cursor: FeedCursor, *, limit: int) -> FeedPage:
        """See Feed. A position that this epoch never gave counts as a changed epoch."""
        now = await self.cursor(user_id)
        if cursor.epoch != self._epoch or not 0 <= cursor.position <= now.position:
            raise EpochChanged
        user = self._users.get(user_id)
        found: list[FeedEntry] = []
        for entry in reversed(user.entries.values()) if user is not None else ():
            if entry.position <= cursor.position:
                break
            if len(found) >= limit:
                return FeedPage(tuple(found), now, True)
            found.append(entry)
        return FeedPage(tuple(found), now, False)
