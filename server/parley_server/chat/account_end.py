"""The end of an account in the channels: it leaves, passes ownership on, and what it wrote is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.chat.command import EraseAuthor

if TYPE_CHECKING:
    from parley_server.chat.owners import Owners
    from parley_server.ports.positions import Positions
    from parley_server.ports.projections import Projections

MEMBERSHIPS_PAGE = 200


class AccountEnd:
    """Ends accounts. Doing it again, after a crash in the middle, does the rest."""

    def __init__(self, owners: Owners, projections: Projections, positions: Positions) -> None:
        self._owners = owners
        self._projections = projections
        self._positions = positions

    async def erase_user(self, user_id: str) -> None:
        """Take the user out of every channel, and make all that the user ever wrote there tombstones.

        Every event of it is durable when this returns. Raises StoreUnavailable and Refusal
        (STORE_UNAVAILABLE, CHANNEL_BUSY, NODE_STOPPING): do it again later.
        """
        after_channel_id = ""
        while page := await self._projections.memberships_of(
            user_id, after_channel_id=after_channel_id, limit=MEMBERSHIPS_PAGE
        ):
            for membership in page:
                await self._owners.submit(membership.channel_id, EraseAuthor(user_id))
            after_channel_id = page[-1].channel_id
        await self._positions.forget_user(user_id)
