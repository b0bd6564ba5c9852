"""Taking deleted text out of the log. Readers are not served it any more by then; this empties the rows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from parley_runtime.logs import get_logger
from parley_server.chat import codec
from parley_server.chat.event import AuthorErased, ChannelDeleted, Event, MessageDeleted
from parley_server.chat.message_view import erased
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from parley_server.ports.message_log import MessageLog, Row
    from parley_server.ports.projections import Projections

PAGE_ROWS = 256
PAGE_BYTES = 1024 * 1024
PICKED_ROWS = 16
DUE_PAGE = 100

log = get_logger(__name__)


class Eraser:
    """Empties rows that events of the kinds MessageDeleted, AuthorErased and ChannelDeleted took back.

    What is due is derived from the log, so nothing is forgotten by a crash: `sweep` finds it again.
    """

    def __init__(self, message_log: MessageLog, projections: Projections) -> None:
        self._log = message_log
        self._projections = projections
        self._due = asyncio.Event()

    async def erase_now(self, channel_id: str, events: Sequence[Event]) -> None:
        """Erase what deletions among a channel's new events took back. What takes longer, the ends of
        accounts and of channels, is left to `keep_sweeping`.

        Never raises for a store that does not answer: the erasure stays due.
        """
        deletions: list[tuple[int, int]] = []
        for event in events:
            match event.body:
                case MessageDeleted(target_seq=target_seq):
                    deletions.append((event.seq, target_seq))
                case AuthorErased() | ChannelDeleted():
                    self._due.set()
        if deletions:
            try:
                await self._erase_messages(channel_id, deletions)
            except StoreUnavailable as error:
                log.error("not erased yet", channel_id=channel_id, error=str(error))
                self._due.set()

    async def sweep(self) -> None:
        """Erase all that is due. Raises StoreUnavailable."""
        after = ("", 0)
        while due := await self._projections.erasures_due(after=after, limit=DUE_PAGE):
            for channel_id, seq in due:
                for row in await self._log.pick(channel_id, (seq,)):
                    await self._erase(codec.event_of(row))
            after = due[-1]

    async def keep_sweeping(self, *, every_seconds: float) -> None:
        """Sweep at once, when something became due, and every so often. Runs until cancelled."""
        while True:
            self._due.clear()
            try:
                await self.sweep()
            except StoreUnavailable as error:
                log.error("erasing goes on later", error=str(error))
            try:
                async with asyncio.timeout(every_seconds):
                    await self._due.wait()
            except TimeoutError:
                continue

    async def _erase(self, event: Event) -> None:
        channel_id = event.channel_id
        match event.body:
            case MessageDeleted(target_seq=target_seq):
                await self._erase_messages(channel_id, [(event.seq, target_seq)])
                return
            case AuthorErased(user_id=user_id):
                await self._walk(channel_id, event.seq, lambda written: written.actor_id == user_id)
            case ChannelDeleted():
                await self._walk(channel_id, event.seq, lambda _written: True, with_settings=True)
        await self._projections.erasure_done(channel_id, event.seq)

    async def _erase_messages(self, channel_id: str, deletions: Sequence[tuple[int, int]]) -> None:
        """Empty messages with their edits, by (seq of the deletion, of the message): few writes for all."""
        seqs: list[int] = []
        for _, target_seq in deletions:
            seqs += (target_seq, *await self._projections.edits_of(channel_id, target_seq))
        emptied: list[Row] = []
        for first in range(0, len(seqs), PICKED_ROWS):
            # What was picked is let go before more is: of edits there may be any number, each of any size.
            emptied += _emptied(await self._log.pick(channel_id, seqs[first : first + PICKED_ROWS]))
            if len(emptied) >= PAGE_ROWS:
                await self._log.erase(channel_id, emptied)
                emptied = []
        if emptied:
            await self._log.erase(channel_id, emptied)
        for due_seq, _ in deletions:
            await self._projections.erasure_done(channel_id, due_seq)

    async def _walk(
        self,
        channel_id: str,
        to_seq: int,
        concerned: Callable[[Event], bool],
        *,
        with_settings: bool = False,
    ) -> None:
        from_seq = 1
        while from_seq <= to_seq:
            page = await self._log.read(channel_id, from_seq, to_seq, limit=PAGE_ROWS, limit_bytes=PAGE_BYTES)
            if not page.rows:
                return
            rows = [row for row in page.rows if concerned(codec.event_of(row))]
            if emptied := _emptied(rows, with_settings=with_settings):
                await self._log.erase(channel_id, emptied)
            from_seq = page.rows[-1].seq + 1


def _emptied(rows: Iterable[Row], *, with_settings: bool = False) -> list[Row]:
    """The rows without what is to go, only those that are other then."""
    emptied = ((row, erased(row.event, with_settings=with_settings)) for row in rows)
    return [replace(row, event=event) for row, event in emptied if event != row.event]
