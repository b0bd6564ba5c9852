"""The port to the users' feeds: hints about which channels have something new. The logs are the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from parley_server.ports.positions import FeedCursor


WHOLE_FEED = 1_000_000
"""A limit beyond the number of channels that anybody has: all changes in one page."""


class FeedEntry(msgspec.Struct, frozen=True):
    """A channel in a user's feed: where its log ends and how far the user has read, as last announced."""

    channel_id: str
    position: int
    head_seq: int
    read_seq: int


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Channels that changed after a cursor, newest change first, and the cursor that covers them."""

    entries: tuple[FeedEntry, ...]
    cursor: FeedCursor
    more: bool


class EpochChanged(Exception):
    """The cursor belongs to another life of the feed: what it covers is not known any more."""


class Feed(Protocol):
    """Per user: channel -> (head, own read position), each change at the user's next position.

    Laws: heads and read positions only grow; an announcement that raises neither changes nothing and takes no
    position; one that raises either takes position + 1, and the channel stands at that position only.
    Announcing twice, late or out of order is harmless. A feed is lost only as a whole, and then its epoch
    differs. Raises StoreUnavailable when the store cannot answer.
    """

    async def announce(
        self, user_id: str, channel_id: str, *, head_seq: int = 0, read_seq: int = 0
    ) -> int | None:
        """Raise what is greater. Returns the position taken, or None when nothing was greater.

        A None must never be taken for a position: the change that made it None may still be on its way.
        """
        ...

    async def cursor(self, user_id: str) -> FeedCursor:
        """The user's epoch and newest position; a new user starts at position 0."""
        ...

    async def changed_since(self, user_id: str, cursor: FeedCursor, *, limit: int) -> FeedPage:
        """Channels whose position is greater than the cursor's, newest first, at most `limit`. Raises
        EpochChanged.
        """
        ...
