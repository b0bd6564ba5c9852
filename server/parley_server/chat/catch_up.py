"""Bringing a session up to its user's logs: after a join, a lag, or something missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import Refusal
from parley_server.chat.framing import event_field
from parley_server.chat.session import Phase, Session
from parley_server.ports.positions import FeedCursor, Positions, ReadMark

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from parley_server.chat.history import History
    from parley_server.ports.feed import Feed
    from parley_server.ports.projections import Projections

PAGE_EVENTS = 200
FEED_PAGE = 1_000_000


class CatchUp:
    """Reads what sessions lack, as fast as their clients take it."""

    def __init__(
        self,
        history: History,
        projections: Projections,
        positions: Positions,
        feed: Feed,
        read_mark_field: Callable[[str, ReadMark], bytes],
    ) -> None:
        self._history = history
        self._projections = projections
        self._feed = feed
        self._positions = positions
        self._read_mark_field = read_mark_field

    async def run(
        self, session: Session, user_id: str, epoch: str, room: Callable[[int], Awaitable[None]]
    ) -> None:
        """Queue everything that the device lacks, in order per channel; the session is live when this
        returns.

        `room` waits until the outbox takes an event of so many bytes, or raises when the stream is gone.
        Raises StoreUnavailable, and EpochChanged when the feed was lost meanwhile.
        """
        while session.phase is Phase.CATCHING_UP:
            behind = session.take_behind()
            page = await self._feed.changed_since(
                user_id, FeedCursor(epoch, session.position), limit=FEED_PAGE
            )
            # Oldest change first, so that a long catch-up shows things in about the order in which they
            # happened.
            announced = [entry.channel_id for entry in reversed(page.entries)]
            for channel_id in dict.fromkeys((*behind, *announced)):
                await self._channel(session, user_id, channel_id, room)
            await self._read_marks(
                session, user_id, [entry.channel_id for entry in page.entries if entry.read_seq]
            )
            session.caught_up(page.cursor.position)

    async def _read_marks(self, session: Session, user_id: str, channel_ids: list[str]) -> None:
        if channel_ids:
            marks = await self._positions.read_marks(user_id, channel_ids)
            for channel_id, mark in marks.items():
                session.put(self._read_mark_field(channel_id, mark))

    async def _channel(
        self, session: Session, user_id: str, channel_id: str, room: Callable[[int], Awaitable[None]]
    ) -> None:
        next_seq = session.next_seq_of(channel_id)
        if next_seq is None:
            member = await self._projections.member(channel_id, user_id)
            if member is None:
                return
            next_seq = member.joined_seq
            session.meet(channel_id, next_seq)
        while True:
            try:
                page = await self._history.events(
                    user_id, channel_id, from_seq=next_seq, to_seq=0, limit=PAGE_EVENTS
                )
            except Refusal:
                # Never a member: a delivery that was meant for another membership is nothing to this user.
                return
            for row in page.rows:
                field = event_field(row.event)
                while not session.put_from_log(channel_id, row.seq, field):
                    await room(len(field))
                if not session.outbox.has_room:
                    await room(0)
            if page.next_seq is None:
                return
            next_seq = page.next_seq
