"""What the suites of Projections share: opening, closing, and the comparison with the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from parley_server.testing.channel_histories import USERS
from parley_server.testing.projected_model import ProjectedModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from parley_server.chat.event import Event
    from parley_server.ports.projections import Projections

EVERYBODY = 1 << 30


class ProjectionsSuite(ABC):
    """`make` opens empty projections."""

    @abstractmethod
    async def make(self) -> Projections:
        """Empty projections."""

    async def discard(self, projections: Projections) -> None:
        """Close what `make` or `reopen` opened."""
        return

    async def reopen(self, projections: Projections) -> Projections:
        """Close and open again. A store that ends with its process returns it as it is."""
        return projections

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Projections]:
        """Projections for the length of a block."""
        projections = await self.make()
        try:
            yield projections
        finally:
            await self.discard(projections)


async def assert_says(projections: Projections, channel_id: str, events: Sequence[Event]) -> None:
    """The projections answer every question about the channel as a log of these events has it."""
    model = ProjectedModel(channel_id, events)
    assert await projections.watermark(channel_id) == len(events)
    assert await projections.channel(channel_id) == model.channel()
    rows = model.members()
    for user_id in USERS:
        row = rows.get(user_id)
        assert await projections.member(channel_id, user_id) == row
        memberships = await projections.memberships_of(user_id, after_channel_id="", limit=EVERYBODY)
        assert [known for known in memberships if known.channel_id == channel_id] == ([row] if row else [])
        inbox = await projections.inbox(user_id, before=None, limit=EVERYBODY)
        assert [known.member for known in inbox if known.member.channel_id == channel_id] == (
            [row] if row is not None and row.role is not None else []
        )
    present = [rows[user_id] for user_id in sorted(rows) if rows[user_id].role is not None]
    assert list(await projections.members(channel_id, after_user_id="", limit=EVERYBODY)) == present
    seqs = range(-1, len(events) + 3)
    for viewer_id in (*USERS[:2], ""):
        states = await projections.message_states(channel_id, seqs, viewer_id=viewer_id)
        assert states == model.message_states(viewer_id)
    for seq in seqs:
        assert await projections.edits_of(channel_id, seq) == model.edits_of(seq)
        replies = await projections.thread(channel_id, seq, before_seq=EVERYBODY, limit=EVERYBODY)
        assert replies == model.thread(seq)
        for user_id in USERS[:3]:
            assert await projections.own_reactions(channel_id, seq, user_id) == model.own_reactions(
                seq, user_id
            )
    assert await projections.pins(channel_id) == model.pins()
    assert await projections.invites(channel_id) == model.invites()
    assert await projections.bans(channel_id, after_user_id="", limit=EVERYBODY) == model.bans()
    due = await projections.erasures_due(after=(channel_id, 0), limit=EVERYBODY)
    assert tuple(known for known in due if known[0] == channel_id) == model.erasures()
    for event in events:
        if event.client_message_id:
            found = await projections.seqs_of(channel_id, event.actor_id, event.client_message_id)
            assert event.seq in found
