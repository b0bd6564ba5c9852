"""What a device needs to know when its stream begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_server.chat.cursor import cursor_of, cursor_text
from parley_server.chat.resume import Digested, Reset, ResetCause, Resume, decide_resume
from parley_server.ports.feed import EpochChanged
from parley_server.ports.positions import NOTHING_READ, FeedCursor, ReadMark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parley_server.chat.inbox import Inbox
    from parley_server.ports.feed import Feed, FeedEntry
    from parley_server.ports.positions import Positions
    from parley_server.ports.projections import Projections

FEED_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Head:
    """Where a channel's log ends for one user, and how far the user has read."""

    channel_id: str
    head_seq: int
    head_message_no: int
    joined_seq: int
    read: ReadMark


@dataclass(frozen=True, slots=True)
class Joining:
    """How a stream begins: the resume, the cursor that holds once what follows from it was sent, the heads of
    all channels, and those that the client is told.
    """

    resume: Resume
    cursor: FeedCursor
    heads: tuple[Head, ...]
    told: tuple[Head, ...]


class Joins:
    """Reads what a joining device needs. The session must be listening already: what is committed from then
    on reaches it, and what was committed before is in the heads read here.
    """

    def __init__(
        self,
        feed: Feed,
        inbox: Inbox,
        positions: Positions,
        projections: Projections,
        *,
        watch_above_members: int,
        replay_limit_events: int,
    ) -> None:
        self._feed = feed
        self._inbox = inbox
        self._positions = positions
        self._projections = projections
        self._watch_above_members = watch_above_members
        self._replay_limit_events = replay_limit_events

    async def read(self, user_id: str, device_id: str, cursor_kept: str, known: Mapping[str, int]) -> Joining:
        """How the device's stream begins. Raises StoreUnavailable."""
        # The feed before the heads: what it announces up to here was projected, so the heads have it.
        now = await self._feed.cursor(user_id)
        heads: dict[str, Head] = {}
        watched: dict[str, int] = {}
        async for page in self._inbox.heads(user_id):
            for row, read in page:
                channel = row.channel
                head = Head(
                    channel.channel_id, channel.watermark, channel.message_no, row.member.joined_seq, read
                )
                heads[head.channel_id] = head
                if channel.member_count > self._watch_above_members:
                    watched[head.channel_id] = head.head_seq
        cursor = cursor_of(user_id, cursor_kept) if cursor_kept else None
        if cursor_kept and cursor is None:
            return self._reset(ResetCause.MALFORMED, now, heads)
        cursor = cursor or await self._positions.acknowledged(user_id, device_id)
        if cursor is None:
            return self._reset(ResetCause.NO_CURSOR, now, heads)
        try:
            changed = await self._changed(user_id, cursor, now)
        except EpochChanged:
            return self._reset(ResetCause.EPOCH_CHANGED, now, heads)
        ends = {channel_id: head.head_seq for channel_id, head in heads.items()}
        former = {
            entry.channel_id: await self._former_head(user_id, entry.channel_id)
            for entry in changed
            if entry.channel_id not in heads
        }
        ends.update((channel_id, head.head_seq) for channel_id, head in former.items() if head)
        resume = decide_resume(
            cursor.position, changed, ends, watched, known, replay_limit_events=self._replay_limit_events
        )
        told: list[Head] = []
        if isinstance(resume, Digested):
            found = [heads.get(channel_id) or former.get(channel_id) for channel_id in resume.channel_ids]
            told = [head for head in found if head]
        return Joining(resume, now, tuple(heads.values()), tuple(told))

    async def cursor(self, user_id: str) -> str:
        """The user's newest cursor, as clients keep it. Raises StoreUnavailable."""
        return cursor_text(user_id, await self._feed.cursor(user_id))

    def _reset(self, cause: ResetCause, now: FeedCursor, heads: Mapping[str, Head]) -> Joining:
        every = tuple(heads.values())
        return Joining(Reset(cause), now, every, every)

    async def _changed(self, user_id: str, cursor: FeedCursor, now: FeedCursor) -> list[FeedEntry]:
        if cursor == now:
            return []
        page = await self._feed.changed_since(user_id, cursor, limit=FEED_PAGE)
        if page.more:
            # Too many to name one by one: the client is told all its channels.
            raise EpochChanged
        return list(page.entries)

    async def _former_head(self, user_id: str, channel_id: str) -> Head | None:
        member = await self._projections.member(channel_id, user_id)
        if member is None or member.windows[-1].to_seq is None:
            return None
        return Head(channel_id, member.windows[-1].to_seq, 0, member.joined_seq, NOTHING_READ)
