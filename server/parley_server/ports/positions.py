"""The port to what no log can rebuild: read positions, mutes, acknowledged cursors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class ReadMark:
    """How far a user has read in a channel: the seq, and how many messages there were up to it."""

    seq: int
    message_no: int


NOTHING_READ = ReadMark(0, 0)


@dataclass(frozen=True, slots=True)
class FeedCursor:
    """A place in a user's feed. Only cursors of one epoch can be compared."""

    epoch: str
    position: int


FOR_EVER_MS = 253_402_300_799_000
"""The last second of the year 9999: a mute until then does not end."""


class Positions(Protocol):
    """Durable, max-merged marks, and mutes of which the newest holds.

    Laws: what a call returned is durable; a mark never goes back; two devices that write at once end with the
    larger mark. Raise StoreUnavailable when the store cannot answer.
    """

    async def mark_read(self, user_id: str, channel_id: str, mark: ReadMark) -> ReadMark:
        """Raise the user's mark to `mark` if its seq is larger. Returns the mark that holds now."""
        ...

    async def read_marks(self, user_id: str, channel_ids: Sequence[str]) -> dict[str, ReadMark]:
        """The user's marks in these channels; channels without one are left out."""
        ...

    async def readers(self, channel_id: str, user_ids: Sequence[str]) -> dict[str, ReadMark]:
        """These users' marks in one channel; users without one are left out."""
        ...

    async def acknowledge(self, user_id: str, device_id: str, cursor: FeedCursor) -> FeedCursor:
        """Raise the device's cursor. Within an epoch the larger position holds; another epoch replaces.
        Returns what holds now.
        """
        ...

    async def acknowledged(self, user_id: str, device_id: str) -> FeedCursor | None:
        """The device's cursor, or None if it never acknowledged."""
        ...

    async def set_mute(self, user_id: str, channel_id: str, mute_until_ms: int) -> None:
        """Have the user's mute of the channel end at `mute_until_ms` (milliseconds since 1970; 0: none)."""
        ...

    async def mutes(self, user_id: str, channel_ids: Sequence[str]) -> dict[str, int]:
        """When the user's mutes of these channels end; channels without one are left out."""
        ...

    async def forget_user(self, user_id: str) -> None:
        """Drop everything of the user."""
        ...

    async def forget_device(self, user_id: str, device_id: str) -> None:
        """Drop the device's cursor. Nothing to drop is fine."""
        ...
