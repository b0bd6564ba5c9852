"""The port to the channels' logs: the one place where a message becomes durable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


LARGEST_SEQ = 2**53 - 1


class Row(msgspec.Struct, frozen=True):
    """One event as it is stored: `event` is the encoded `parley.chat.v1.Event`, `digest` its content's
    identity.

    `is_message` lets a reader of messages pass over other events without decoding them.
    """

    seq: int
    is_message: bool
    digest: bytes
    event: bytes


@dataclass(frozen=True, slots=True)
class Committed:
    """The rows are durable, in their final place; the head is now the last row's seq."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Nothing was written: the head is `head`, not the expected one."""

    head: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """The store did not answer: all rows or none may have been written, now or still to come.

    The caller finds out by `batch_at`: once a later append at the same expected head has been committed
    or has conflicted, the outcome is settled.
    """

    cause: str


@dataclass(frozen=True, slots=True)
class NotWritten(Unknown):
    """The store refused before it began (its queue or its disk is full): nothing was written, nor will be.

    To treat it as Unknown is correct, only slower.
    """


AppendResult = Committed | Conflict | Unknown


@dataclass(frozen=True, slots=True)
class LogPage:
    """Rows in the order asked for, and the head that held when they were read. No row is beyond the head.

    `more` is true when the range asked for holds rows after these.
    """

    rows: tuple[Row, ...]
    head: int
    more: bool


class StoreUnavailable(Exception):
    """The store cannot be reached or failed. For a read: nothing is known. Never raised by `append`."""


class MessageLog(Protocol):
    """Per channel a dense, append-only log.

    Laws: `append` commits all rows or none, and only at the expected head; what is committed is durable
    before the answer and never replaced, but by `erase`; every read is a prefix of the log in the order of
    seq, together with the head it was read at; a read that starts after `append` answered Committed sees
    those rows. A channel that was never written has head 0.
    """

    async def append(
        self, channel_id: str, expected_head: int, rows: Sequence[Row], batch_id: bytes
    ) -> AppendResult:
        """Add rows `expected_head + 1 …`. `rows` is not empty and dense; `batch_id` (16 bytes) names this
        attempt.
        """
        ...

    async def head(self, channel_id: str) -> int:
        """The newest seq, by a linearizable read. Raises StoreUnavailable."""
        ...

    async def batch_at(self, channel_id: str, seq: int) -> bytes | None:
        """The batch id of the row at `seq`, or None where there is none, by a linearizable read. Raises
        StoreUnavailable.
        """
        ...

    async def read(
        self,
        channel_id: str,
        from_seq: int,
        to_seq: int,
        *,
        limit: int,
        limit_bytes: int,
        newest_first: bool = False,
        only_messages: bool = False,
    ) -> LogPage:
        """Rows with from_seq <= seq <= to_seq, at most `limit` and `limit_bytes` of event bytes, though one
        row always fits.

        Ascending, or descending from `to_seq` with `newest_first`. Raises StoreUnavailable.
        """
        ...

    async def pick(self, channel_id: str, seqs: Sequence[int]) -> tuple[Row, ...]:
        """Those of the rows that exist, ascending by seq, each once. Raises StoreUnavailable."""
        ...

    async def erase(self, channel_id: str, rows: Sequence[Row]) -> None:
        """Put these events in the place of what their seqs hold, and leave nothing of what was there in the
        store's files once it was compacted (see `compact`).

        The one exception to "never replaced": a row takes the place only of one with the same seq, digest and
        `is_message`; others are passed over. Durable before it returns. Raises StoreUnavailable.
        """
        ...

    async def compact(self) -> None:
        """Leave nothing of erased events in the store's files. May take long: reading goes on meanwhile,
        appends may have to wait. Raises StoreUnavailable: then something may be left.
        """
        ...

    async def fanned(self, channel_id: str) -> int:
        """The newest seq known to be announced to every member; 0 at first. Raises StoreUnavailable."""
        ...

    async def mark_fanned(self, channel_id: str, seq: int) -> None:
        """Raise the mark to `seq`; a smaller one changes nothing. Need not be durable at once. Raises
        StoreUnavailable.
        """
        ...

    async def mark_active(self, slot: int, minute: int, channel_id: str) -> None:
        """Put the channel in the slot's set for this minute (minutes since 1970). Durable before it returns.

        Sets older than an hour may be dropped. Raises StoreUnavailable.
        """
        ...

    async def active(self, slot: int, since_minute: int) -> tuple[str, ...]:
        """Channels in the slot's sets from `since_minute` on, each once. Raises StoreUnavailable."""
        ...
