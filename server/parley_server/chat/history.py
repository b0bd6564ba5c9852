"""Reading a channel's log, as far as the reader was a member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from parley.chat.v1 import event_pb2
from parley_runtime.refusal import channel_not_found, invalid_field
from parley_server.chat.membership import may_read
from parley_server.chat.message_decisions import message_not_found
from parley_server.chat.message_view import hide_later
from parley_server.chat.presenting import Presenter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    """Reads for members, present and former. Strangers get the one CHANNEL_NOT_FOUND.

    Messages come as they are now: with the newest edit's content, or as tombstones. Former members are not
    told what was written after they left, also where it replaces what they saw.
    """

    def __init__(self, log: MessageLog, projections: Projections, *, page_limit_bytes: int) -> None:
        self._log = log
        self._projections = projections
        self._presenter = Presenter(log, projections)
        self._page_limit_bytes = page_limit_bytes

    async def message(self, user_id: str, channel_id: str, seq: int) -> bytes:
        """The encoded event at `seq`. Raises Refusal (CHANNEL_NOT_FOUND, MESSAGE_NOT_FOUND)."""
        if seq <= 0:
            raise invalid_field("seq", "must be greater than 0")
        member, projected_seq = await self._member(user_id, channel_id)
        if seq <= projected_seq and may_read(member, seq):
            rows = [row for row in await self._log.pick(channel_id, (seq,)) if row.is_message]
            for row in await self._present(member, rows, limit_bytes=0):
                return row.event
        raise message_not_found()

    async def check_visible(self, user_id: str, channel_id: str, seqs: Iterable[int]) -> None:
        """Raises Refusal when the user may not see these places of the channel. What stands there is not
        looked at.
        """
        member, _ = await self._member(user_id, channel_id)
        if not all(may_read(member, seq) for seq in seqs):
            raise message_not_found()

    async def thread(
        self, user_id: str, channel_id: str, root_seq: int, *, before_seq: int, limit: int
    ) -> HistoryPage:
        """Messages in the thread of `root_seq` with a seq smaller than `before_seq` (0: from the newest),
        newest first, as far as the user may see them. Raises Refusal.
        """
        if root_seq <= 0:
            raise invalid_field("thread_root_seq", "must be greater than 0")
        if before_seq < 0:
            raise invalid_field("before_seq", "must not be negative")
        member, projected_seq = await self._member(user_id, channel_id)
        if not may_read(member, root_seq):
            raise message_not_found()
        before = min(before_seq or projected_seq + 1, projected_seq + 1)
        seqs = await self._projections.thread(channel_id, root_seq, before_seq=before, limit=limit + 1)
        more = len(seqs) > limit
        rows: list[Row] = []
        left_bytes = self._page_limit_bytes
        for seq in (seq for seq in seqs[:limit] if may_read(member, seq)):
            # One at a time: a page of the largest messages would not fit into memory at once.
            shown = await self._present(member, await self._log.pick(channel_id, (seq,)), limit_bytes=0)
            left_bytes -= sum(len(row.event) for row in shown)
            if rows and left_bytes < 0:
                return HistoryPage(tuple(rows), seq, self._head(member, projected_seq))
            rows.extend(shown)
        next_seq = seqs[limit] if more else None
        return HistoryPage(tuple(rows), next_seq, self._head(member, projected_seq))

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
        page = await self._read(member, projected_seq, spans, limit, newest_first=True)
        return await self._shown(member, page)

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
        page = await self._read(member, projected_seq, spans, limit, newest_first=False)
        return await self._shown(member, page)

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

    @staticmethod
    def _head(member: MemberRow, projected_seq: int) -> int:
        newest = member.windows[-1]
        return projected_seq if newest.to_seq is None else min(projected_seq, newest.to_seq)

    async def _present(self, member: MemberRow, rows: Sequence[Row], *, limit_bytes: int) -> tuple[Row, ...]:
        shown = await self._presenter.present(
            member.channel_id, rows, viewer_id=member.user_id, limit_bytes=limit_bytes
        )
        now: MemberRow | None = member
        if member.role is not None:
            # Asked again: who left since may not be shown what the messages became after that.
            now = await self._projections.member(member.channel_id, member.user_id)
        if now is None:
            raise channel_not_found()
        if now.role is not None:
            return shown
        last_seq = now.windows[-1].to_seq or 0
        return tuple(_of_former(row, last_seq) if row.is_message else row for row in shown)

    async def _shown(self, member: MemberRow, page: HistoryPage) -> HistoryPage:
        rows = await self._present(member, page.rows, limit_bytes=self._page_limit_bytes)
        if len(rows) < len(page.rows):
            # Edited to be longer than they were written: the page ends sooner.
            return HistoryPage(rows, page.rows[len(rows)].seq, page.head)
        return HistoryPage(rows, page.next_seq, page.head)

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
        head = self._head(member, projected_seq)
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


def _of_former(row: Row, last_seq: int) -> Row:
    message = event_pb2.Event.FromString(row.event)
    if not message.message.HasField("state"):
        return row
    hide_later(message, last_seq)
    return replace(row, event=message.SerializeToString())
