"""Stores whose every call waits to be resolved by a scheduler, and which write down what happened.

A call has two moments: when it takes effect at the store, and when its caller learns of it. Whoever holds the
call decides both, or lets it fail before, after, or before and then take effect late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from parley_runtime.at_once import run_at_once
from parley_server.ports.message_log import AppendResult, LogPage, StoreUnavailable, Unknown
from parley_server.testing.model_history import (
    Applied,
    Erased,
    MarkedActive,
    MarkedFanned,
    Stored,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from parley_server.chat.event import Event
    from parley_server.ports.message_log import MessageLog, Row
    from parley_server.ports.projections import (
        Projections,
    )
    from parley_server.testing.model_history import Step

_ANY_BYTES = 1 << 40

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Call:
    """One port call in flight. Awaiting it hands it to whoever runs the coroutine.

    `writes`: it changes the store, so that it may take effect after its caller gave it up.
    """

    name: str
    work: Callable[[], Any]
    writes: bool = False
    performed: bool = False
    result: Any = None

    def __await__(self) -> Generator[Call, Any, Any]:
        return (yield self)

    def perform(self) -> None:
        """Take effect at the store. What the store raises is the result."""
        try:
            self.result = self.work()
        except Exception as error:
            self.result = error
        self.performed = True

    def failure(self) -> Unknown | StoreUnavailable:
        """How this call fails: an append answers Unknown, everything else raises."""
        if self.name == "append":
            return Unknown("the store did not answer")
        return StoreUnavailable(f"{self.name}: the store did not answer")


class ModelStore:
    """One channel's stores, shared by all nodes, and the history of what they did.

    `late` is true while a write takes effect that its caller gave up before.
    """

    def __init__(self, channel_id: str, log: MessageLog, projections: Projections) -> None:
        self.channel_id = channel_id
        self.log = log
        self.projections = projections
        self.history: list[Step] = []
        self.late = False

    def rows(self) -> tuple[Row, ...]:
        """The whole log."""
        return self.read(1, 2**53 - 1, limit=1 << 30).rows

    def read(
        self,
        from_seq: int,
        to_seq: int,
        *,
        limit: int,
        limit_bytes: int = _ANY_BYTES,
        newest_first: bool = False,
        only_messages: bool = False,
    ) -> LogPage:
        """A read, at once."""
        return run_at_once(
            self.log.read(
                self.channel_id,
                from_seq,
                to_seq,
                limit=limit,
                limit_bytes=limit_bytes,
                newest_first=newest_first,
                only_messages=only_messages,
            )
        )

    def append(self, expected_head: int, rows: Sequence[Row], batch_id: bytes) -> AppendResult:
        """An append, at once."""
        before = self.rows()
        result = self.do_append(expected_head, rows, batch_id)
        after = self.rows()
        if after != before:
            self.history.append(Stored(batch_id, after))
        return result

    def do_append(self, expected_head: int, rows: Sequence[Row], batch_id: bytes) -> AppendResult:
        """What the store does to append. A broken store does something else."""
        return run_at_once(self.log.append(self.channel_id, expected_head, rows, batch_id))

    def apply(self, node: int, events: Sequence[Event]) -> None:
        """An application to the projections, at once."""
        run_at_once(self.projections.apply(self.channel_id, events))
        watermark = run_at_once(self.projections.watermark(self.channel_id))
        self.history.append(Applied(node, tuple(events), watermark))

    def erase(self, node: int, rows: Sequence[Row]) -> None:
        """Rows emptied, at once."""
        run_at_once(self.log.erase(self.channel_id, rows))
        self.history.append(Erased(node, tuple(rows)))

    def mark_fanned(self, seq: int) -> None:
        """A raised mark, at once."""
        run_at_once(self.log.mark_fanned(self.channel_id, seq))
        self.history.append(MarkedFanned(seq))

    def mark_active(self, slot: int, minute: int) -> None:
        """An entry in the active set, at once."""
        run_at_once(self.log.mark_active(slot, minute, self.channel_id))
        self.history.append(MarkedActive(minute))
