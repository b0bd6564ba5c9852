"""Reading a channel's log, as far as the reader was a member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal, channel_not_found, invalid_field
from parley_server.chat.membership import may_read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parley_server.ports.message_log import MessageLog, Row
    from parley_server.ports.projections import MemberRow, Projections


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Rows in the order asked for; `next_seq` is where the next page begins, None when there is
    none.

    `head` is the newest seq that the reader may see, which is the end of a former member's time.
    """

    rows: tuple[Row, ...]
    next_seq: int | None
    head: int


class History:
    """Reads for members, present and former. Strangers get the one CHANNEL_NOT_FOUND."""

    def __init__(self, log: MessageLog, projections: Projections, *, page_limit_bytes: int) -> None:
        self._log = log
        self._projections = projections
        self._page_limit_bytes = page_limit_bytes

    async def message(self, user_id: str, channel_id: str, seq: int) -> bytes:
        """The encoded event at `seq`. Raises Refusal (CHANNEL_NOT_FOUND, MESSAGE_NOT_FOUND)."""
        if seq <= 0:
            raise invalid_field("seq", "must be greater than 0")
        member, projected_seq = await self._member(user_id, channel_id)
        if seq <= projected_seq and may_read(member, seq):
            page = await self._log.read(channel_id, seq, seq, limit=1, limit_bytes=1)
            for row in page.rows:
                if row.is_message:
                    return row.event
        raise Refusal(
            Reason.MESSAGE_NOT_FOUND,
            "There is no message at this seq, or it is from before your time in the channel.",
        )

    async def messages(self, user_id: str, channel_id: str, *, before_seq: int, limit: int) -> HistoryPage:
        """Messages with a seq smaller than `before_seq` (0: from the newest), newest first."""
        if before_seq < 0:
            raise invalid_field("before_seq", "must not be negative")
        member, projected_seq = await self._member(user_id, channel_id)
        up_to = min(before_seq - 1, projected_seq) if before_seq else projected_seq
        spans = [
            (window.from_seq, up_to if window.to_seq is None else min(window.to_seq, up_to))
            for window in reversed(member.windows)
        ]
        return await self._read(member, projected_seq, spans, limit, newest_first=True)

    async def events(
        self, user_id: str, channel_id: str, *, from_seq: int, to_seq: int, limit: int
    ) -> HistoryPage:
        """All events with from_seq <= seq <= to_seq (0: from the first, to the newest), oldest first. Raises
        Refusal.
        """
        if from_seq < 0:
            raise invalid_field("from_seq", "must not be negative")
        if to_seq < 0:
            raise invalid_field("to_seq", "must not be negative")
        member, projected_seq = await self._member(user_id, channel_id)
        last = min(to_seq or projected_seq, projected_seq)
        spans = [
            (max(window.from_seq, from_seq), last if window.to_seq is None else min(window.to_seq, last))
            for window in member.windows
        ]
        return await self._read(member, projected_seq, spans, limit, newest_first=False)

    async def _member(self, user_id: str, channel_id: str) -> tuple[MemberRow, int]:
        """The membership, and the seq up to which it is certain. What the log holds beyond may begin with the
        event that ended it.
        """
        if not channel_id:
            raise invalid_field("channel_id", "is required")
        projected_seq = await self._projections.watermark(channel_id)
        member = await self._projections.member(channel_id, user_id)
        if member is None:
            raise channel_not_found()
        return member, projected_seq

    async def _read(
        self,
        member: MemberRow,
        projected_seq: int,
        spans: Iterable[tuple[int, int]],
        limit: int,
        *,
        newest_first: bool,
    ) -> HistoryPage:
        rows: list[Row] = []
        left_bytes = self._page_limit_bytes
        newest = member.windows[-1]
        head = projected_seq if newest.to_seq is None else min(projected_seq, newest.to_seq)
        read = False
        for first, last in spans:
            if first > last:
                continue
            if read and (len(rows) == limit or left_bytes <= 0):
                return HistoryPage(tuple(rows), last if newest_first else first, head)
            read = True
            page = await self._log.read(
                member.channel_id,
                first,
                last,
                limit=limit - len(rows),
                limit_bytes=left_bytes,
                newest_first=newest_first,
                only_messages=newest_first,
            )
            if rows and page.rows and len(page.rows[0].event) > left_bytes:
                # One event of any size fits a page, but only as its first.
                return HistoryPage(tuple(rows), page.rows[0].seq, head)
            rows.extend(page.rows)
            left_bytes -= sum(len(row.event) for row in page.rows)
            if page.more and page.rows:
                next_seq = page.rows[-1].seq - 1 if newest_first else page.rows[-1].seq + 1
                return HistoryPage(tuple(rows), next_seq, head)
        return HistoryPage(tuple(rows), None, head)
