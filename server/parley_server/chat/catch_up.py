"""Bringing a session up to its user's logs: after a join, a lag, or something missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from parley_server.chat.event import HistoryVisibility
from parley_server.chat.framing import event_field
from parley_server.chat.session import Phase, Session
from parley_server.ports.feed import WHOLE_FEED
from parley_server.ports.positions import FeedCursor, Positions, ReadMark

if TYPE_CHECKING:
    from parley_server.chat.heads import Head, Heads
    from parley_server.chat.history import History
    from parley_server.ports.feed import Feed
    from parley_server.ports.projections import MemberRow, Projections

PAGE_EVENTS = 200

Room = Callable[[], Awaitable[None]]


class CatchUp:
    """Reads what sessions lack, as fast as their clients take it.

    `history` should end its pages where a frame ends: a page is in memory while its session waits for room.
    """

    def __init__(
        self,
        history: History,
        heads: Heads,
        projections: Projections,
        positions: Positions,
        feed: Feed,
        *,
        read_mark_field: Callable[[str, ReadMark], bytes],
        digest_field: Callable[[Head], bytes],
    ) -> None:
        self._history = history
        self._heads = heads
        self._projections = projections
        self._feed = feed
        self._positions = positions
        self._read_mark_field = read_mark_field
        self._digest_field = digest_field

    async def run(self, session: Session, user_id: str, epoch: str, room: Room) -> None:
        """Queue everything that the device lacks, in order per channel; the session is live when this
        returns.

        `room` waits until the client takes more, or raises when the stream is gone. Raises StoreUnavailable,
        and EpochChanged when the feed was lost meanwhile.
        """
        while session.phase is Phase.CATCHING_UP:
            behind = session.take_behind()
            page = await self._feed.changed_since(
                user_id, FeedCursor(epoch, session.position), limit=WHOLE_FEED
            )
            # Oldest change first, so that a long catch-up shows things in about the order in which they
            # happened.
            announced = [entry.channel_id for entry in reversed(page.entries)]
            for channel_id in dict.fromkeys((*behind, *announced)):
                await self._channel(session, user_id, channel_id, room)
            await self._read_marks(
                session, user_id, [entry.channel_id for entry in page.entries if entry.read_seq], room
            )
            session.caught_up(page.cursor.position)

    async def _read_marks(self, session: Session, user_id: str, channel_ids: list[str], room: Room) -> None:
        if channel_ids:
            marks = await self._positions.read_marks(user_id, channel_ids)
            for channel_id, mark in marks.items():
                field = self._read_mark_field(channel_id, mark)
                while not session.put_mark_from_feed(field):
                    await room()

    async def _channel(self, session: Session, user_id: str, channel_id: str, room: Room) -> None:
        next_seq = session.next_seq_of(channel_id)
        if next_seq is None:
            next_seq = await self._meet(session, user_id, channel_id, room)
        last_seq = 0
        while next_seq:
            await room()
            page = await self._history.events(
                user_id, channel_id, from_seq=next_seq, to_seq=last_seq, limit=PAGE_EVENTS
            )
            for row in page.rows:
                field = event_field(row.event)
                while not session.put_from_log(channel_id, row.seq, field):
                    await room()
            # What comes after the first page's head is noted, and other channels come before it.
            last_seq = last_seq or page.head
            next_seq = page.next_seq or 0

    async def _meet(self, session: Session, user_id: str, channel_id: str, room: Room) -> int:
        """Where the device's stream of the channel begins. 0: there is nothing to send of it now."""
        member = await self._projections.member(channel_id, user_id)
        if member is None:
            return 0
        if not session.met(channel_id) and await self._is_first_membership(member):
            session.begin(channel_id, member.joined_seq)
            return member.joined_seq
        # The device may know the channel, and nobody said how far: it is told the head and fetches what it
        # lacks.
        head = await self._heads.one(user_id, channel_id)
        if head is not None:
            await room()
            session.put(self._digest_field(head))
            session.begin(channel_id, head.head_seq + 1)
        return 0

    async def _is_first_membership(self, member: MemberRow) -> bool:
        if member.role is None or len(member.windows) > 1:
            return False
        if member.windows[0].from_seq == member.joined_seq:
            return True
        # The whole history may be seen: by somebody who was there from the beginning, or the channel shows it
        # to all, and then earlier memberships cannot be told.
        channel = await self._projections.channel(member.channel_id)
        return channel is not None and channel.history_visibility is HistoryVisibility.FROM_JOINING
