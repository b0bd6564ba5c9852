"""Who may not write in a direct channel because one of its two users blocked the other."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from parley_server.chat.event import ChannelKind

if TYPE_CHECKING:
    from collections.abc import Collection

    from parley_runtime.refusal import Refusal
    from parley_server.ports.projections import Projections

PAIRS_KEPT = 65_536


class KnowsBlocks(Protocol):
    """Says who blocked whom. Answers that are known already do not suspend."""

    def remembers(self, user_id: str) -> bool:
        """Whether no store is asked whom the user blocked."""
        ...

    async def refusal_between(self, one: str, other: str) -> Refusal | None:
        """BLOCKED when either blocked the other."""
        ...

    async def blockers_among(self, user_id: str, others: Collection[str]) -> set[str]:
        """Which of the others blocked the user or were blocked by the user."""
        ...


class DirectBlocks:
    """Checks sends. Remembers the pair behind each direct channel, which never changes."""

    def __init__(self, projections: Projections, blocks: KnowsBlocks) -> None:
        self._projections = projections
        self._blocks = blocks
        self._peers: OrderedDict[tuple[str, str], str] = OrderedDict()

    def knows(self, user_id: str, channel_id: str) -> bool:
        """Whether `refusal` answers without asking a store."""
        peer = self._peers.get((channel_id, user_id))
        if not peer:
            return peer is not None
        return self._blocks.remembers(user_id) and self._blocks.remembers(peer)

    async def refusal(self, user_id: str, channel_id: str) -> Refusal | None:
        """BLOCKED when the channel is a direct one of the user and one of the two blocked the other."""
        peer = self._peers.get((channel_id, user_id))
        if peer is None:
            peer = await self._find(user_id, channel_id)
        return await self._blocks.refusal_between(user_id, peer) if peer else None

    async def _find(self, user_id: str, channel_id: str) -> str:
        channel = await self._projections.channel(channel_id)
        if channel is None:
            return ""
        peer = ""
        if channel.kind is ChannelKind.DIRECT:
            members = await self._projections.members(channel_id, after_user_id="", limit=2)
            ids = [row.user_id for row in members]
            if user_id not in ids or len(ids) < 2:
                return ""
            peer = next(other for other in ids if other != user_id)
        self._peers[channel_id, user_id] = peer
        if len(self._peers) > PAIRS_KEPT:
            self._peers.popitem(last=False)
        return peer
