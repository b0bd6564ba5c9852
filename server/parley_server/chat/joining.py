"""What a device needs to know when its stream begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_server.chat.cursor import cursor_of
from parley_server.chat.resume import Digested, Reset, ResetCause, Resume, decide_resume, start_of
from parley_server.ports.feed import WHOLE_FEED, EpochChanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from parley_server.chat.heads import Head, Heads
    from parley_server.chat.session import Start
    from parley_server.ports.feed import Feed
    from parley_server.ports.positions import FeedCursor, Positions


@dataclass(frozen=True, slots=True)
class Joining:
    """How a stream begins: the resume, the cursor that holds once what follows from it was sent, where the
    session starts, and the heads that the client is told, newest activity first.
    """

    resume: Resume
    cursor: FeedCursor
    start: Start
    told: tuple[Head, ...]


class Joins:
    """Reads what a joining device needs. The session must be listening already: what is announced from then
    on reaches it, and what was announced before is in the feed read here.
    """

    def __init__(
        self,
        feed: Feed,
        heads: Heads,
        positions: Positions,
        *,
        watch_above_members: int,
        replay_limit_events: int,
    ) -> None:
        self._feed = feed
        self._heads = heads
        self._positions = positions
        self._watch_above_members = watch_above_members
        self._replay_limit_events = replay_limit_events

    async def read(self, user_id: str, device_id: str, cursor_kept: str, known: Mapping[str, int]) -> Joining:
        """How the device's stream begins. Raises StoreUnavailable."""
        # The feed before the heads: what it announces up to here was projected, so the heads have it.
        now = await self._feed.cursor(user_id)
        heads = await self._heads.all(user_id)
        members = tuple(heads)
        cursor = cursor_of(user_id, cursor_kept) if cursor_kept else None
        cause: ResetCause | None = None
        changed: list[str] = []
        if cursor_kept and cursor is None:
            cause = ResetCause.MALFORMED
        else:
            cursor = cursor or await self._positions.acknowledged(user_id, device_id)
            if cursor is None:
                cause = ResetCause.NO_CURSOR
            else:
                try:
                    changed = await self._changed(user_id, cursor, now)
                except EpochChanged:
                    cause = ResetCause.EPOCH_CHANGED
        if cause is not None or cursor is None:
            resume: Resume = Reset(cause or ResetCause.NO_CURSOR)
            # A channel that the device knows and its user has left is named as well, with its end. Of one
            # that came and went while it was away the device need not hear.
            heads.update(await self._left(user_id, known, heads))
        else:
            for channel_id in changed:
                if channel_id not in heads and (former := await self._heads.one(user_id, channel_id)):
                    heads[channel_id] = former
            resume = decide_resume(
                cursor.position,
                changed,
                {channel_id: head.head_seq for channel_id, head in heads.items()},
                [
                    channel_id
                    for channel_id, head in heads.items()
                    if head.member_count > self._watch_above_members
                ],
                known,
                replay_limit_events=self._replay_limit_events,
            )
        ends = {channel_id: head.head_seq for channel_id, head in heads.items()}
        told: tuple[Head, ...] = ()
        if isinstance(resume, Reset):
            told = _newest_first(heads.values())
        elif isinstance(resume, Digested):
            told = _newest_first(heads[channel_id] for channel_id in resume.channel_ids)
        return Joining(resume, now, start_of(resume, now.position, ends, members, known), told)

    async def cursor(self, user_id: str) -> FeedCursor:
        """The user's newest cursor. Raises StoreUnavailable."""
        return await self._feed.cursor(user_id)

    async def _left(
        self, user_id: str, known: Mapping[str, int], heads: Mapping[str, Head]
    ) -> dict[str, Head]:
        left: dict[str, Head] = {}
        for channel_id in known:
            if channel_id not in heads and (former := await self._heads.one(user_id, channel_id)):
                left[channel_id] = former
        return left

    async def _changed(self, user_id: str, cursor: FeedCursor, now: FeedCursor) -> list[str]:
        if cursor == now:
            return []
        page = await self._feed.changed_since(user_id, cursor, limit=WHOLE_FEED)
        return [entry.channel_id for entry in page.entries]


def _newest_first(heads: Iterable[Head]) -> tuple[Head, ...]:
    return tuple(sorted(heads, key=lambda head: head.last_activity_ms, reverse=True))
