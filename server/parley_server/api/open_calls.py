"""Calls that anybody may keep open, for as long as he likes: so many at a time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from parley_runtime.refusal import Reason, Refusal
from parley_runtime.status import abort_arguments

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RETRY_SECONDS = 5.0


class OpenCalls:
    """Lets at most `limit` calls be open. One more is refused with SERVER_BUSY and `refusal` as its message,
    which says what is full and what to do instead.
    """

    def __init__(self, limit: int, refusal: str) -> None:
        self._limit = limit
        self._refusal = refusal
        self._open = 0

    @asynccontextmanager
    async def one(self, context: Any) -> AsyncIterator[None]:
        """A place for the call of this servicer context, given back when the block is left. Without a free
        one it aborts the call, and the block is not entered.
        """
        if self._open >= self._limit:
            busy = Refusal(Reason.SERVER_BUSY, self._refusal, retry_after_seconds=RETRY_SECONDS)
            await context.abort(*abort_arguments(busy))
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
