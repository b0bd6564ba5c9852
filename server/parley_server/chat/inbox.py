"""A user's channels with what is new in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_server.chat import codec
from parley_server.chat.presenting import Presenter
from parley_server.ports.positions import NOTHING_READ, Positions, ReadMark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_server.ports.message_log import MessageLog
    from parley_server.ports.projections import InboxRow, Projections

HEADS_PAGE = 500
PREVIEW_CODE_POINTS = 256


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One channel on the start screen; `last_message` is the encoded event, its text cut to the first
    PREVIEW_CODE_POINTS, None where none is to see. `mute_until_ms` is 0 for a channel that was never muted.
    """

    row: InboxRow
    read: ReadMark
    last_message: bytes | None
    mute_until_ms: int


class Inbox:
    """Reads the start screen."""

    def __init__(self, log: MessageLog, projections: Projections, positions: Positions) -> None:
        self._log = log
        self._presenter = Presenter(log, projections)
        self._projections = projections
        self._positions = positions

    async def page(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> tuple[InboxEntry, ...]:
        """Channels by last activity, newest first, before `before` (last_activity_ms, channel_id)."""
        rows = await self._projections.inbox(user_id, before=before, limit=limit)
        channel_ids = [row.channel.channel_id for row in rows]
        marks = await self._positions.read_marks(user_id, channel_ids)
        mutes = await self._positions.mutes(user_id, channel_ids)
        return tuple(
            [
                InboxEntry(
                    row,
                    marks.get(row.channel.channel_id, NOTHING_READ),
                    await self._last_message(row),
                    mutes.get(row.channel.channel_id, 0),
                )
                for row in rows
            ]
        )

    async def heads(self, user_id: str) -> AsyncIterator[list[tuple[InboxRow, ReadMark]]]:
        """All the user's channels with read positions, in pages."""
        after_channel_id = ""
        while True:
            rows = await self._projections.channels_of(
                user_id, after_channel_id=after_channel_id, limit=HEADS_PAGE
            )
            if not rows:
                return
            marks = await self._positions.read_marks(user_id, [row.channel.channel_id for row in rows])
            yield [(row, marks.get(row.channel.channel_id, NOTHING_READ)) for row in rows]
            after_channel_id = rows[-1].channel.channel_id

    async def _last_message(self, row: InboxRow) -> bytes | None:
        seq = row.channel.last_message_seq
        channel_id, member = row.channel.channel_id, row.member
        if not member.windows[-1].holds(seq):
            return None
        shown = await self._presenter.present(
            channel_id,
            await self._log.pick(channel_id, (seq,)),
            viewer_id=member.user_id,
            limit_bytes=0,
        )
        # Cut here and not at the end: a page of the longest messages would take 80 MB meanwhile.
        return codec.with_text_cut(shown[0].event, PREVIEW_CODE_POINTS) if shown else None
