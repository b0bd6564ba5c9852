"""Letting go of client ids that nobody may repeat any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from parley_runtime.logs import get_logger
from parley_server.chat.client_id import DEDUP_WINDOW_MS
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from parley_runtime.clock import Clock
    from parley_server.ports.projections import ForgettableIds

KEPT_MS = DEDUP_WINDOW_MS + 24 * 3600 * 1000
"""A day more than an id may be repeated: for clocks that differ, and for what waits."""

EVEN_SECONDS = 3600.0
UNEVEN_MS = 60_000

AT_ONCE = 1000
PAUSE_SECONDS = 0.05

log = get_logger(__name__)


class EvenClock:
    """Whether the wall clock may be believed when something is lost by it.

    A clock that ran ahead would forget ids that can still be repeated, and a repeated message would be
    written twice once it was set right.
    """

    def __init__(self) -> None:
        # The wall clock less the other one, and since when it was so.
        self._offset_ms = 0.0
        self._since: float | None = None

    def believed(self, now_ms: int, monotonic: float) -> bool:
        """Whether it went evenly for an hour. To be asked every now and then, all the time."""
        offset_ms = now_ms - monotonic * 1000
        if self._since is None or abs(offset_ms - self._offset_ms) > UNEVEN_MS:
            self._offset_ms, self._since = offset_ms, monotonic
        return monotonic - self._since >= EVEN_SECONDS


async def forget(ids: ForgettableIds, now_ms: int) -> None:
    """Forget all ids that cannot be repeated at `now_ms` any more. Raises StoreUnavailable."""
    while True:
        if await ids.forget_ids(before_ms=now_ms - KEPT_MS, limit=AT_ONCE) < AT_ONCE:
            return
        # A backlog must not hold up what people write.
        await asyncio.sleep(PAUSE_SECONDS)


async def keep_forgetting(ids: ForgettableIds, clock: Clock, *, every_seconds: float) -> None:
    """Forget every so often. Runs until cancelled."""
    even = EvenClock()
    while True:
        if even.believed(clock.now_ms(), clock.monotonic()):
            try:
                await forget(ids, clock.now_ms())
            except StoreUnavailable as error:
                log.warning("client ids are forgotten later", error=str(error))
        await asyncio.sleep(every_seconds)
