"""What the suites of MessageLog share: rows to write, opening and closing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from parley_server.ports.message_log import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_server.ports.message_log import MessageLog

EVERYTHING = 1 << 30


def batch_id(number: int) -> bytes:
    """The 16 bytes that name an attempt in these tests."""
    return number.to_bytes(16, "big")


def row(seq: int, *, is_message: bool = True, event: bytes | None = None) -> Row:
    """A row that can be told from every other."""
    return Row(seq, is_message, b"%032d" % seq, b"event %d" % seq if event is None else event)


def rows(first: int, last: int) -> list[Row]:
    """Messages with seqs from `first` to `last`."""
    return [row(seq) for seq in range(first, last + 1)]


class MessageLogSuite(ABC):
    """`make` opens an empty log."""

    @abstractmethod
    async def make(self) -> MessageLog:
        """An empty log."""

    async def discard(self, log: MessageLog) -> None:
        """Close what `make` or `reopen` opened."""
        return

    async def reopen(self, log: MessageLog) -> MessageLog:
        """Close the log and open it again, as a restart would. A store that ends with its process returns
        it as it is.
        """
        return log

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[MessageLog]:
        """A log for the length of a block."""
        log = await self.make()
        try:
            yield log
        finally:
            await self.discard(log)
