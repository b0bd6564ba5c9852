"""A MessageLog that answers as a real one may on a bad day, by script or by seeded chance."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from typing import TYPE_CHECKING, Protocol

from parley_server.ports.message_log import AppendResult, LogPage, MessageLog, Row, StoreUnavailable, Unknown

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable, Sequence


class AppendFault(enum.Enum):
    """What becomes of one append."""

    NONE = enum.auto()
    """It is carried out and answered."""
    UNKNOWN_WRITTEN = enum.auto()
    """It is carried out; the answer is Unknown."""
    UNKNOWN_LOST = enum.auto()
    """It is never carried out; the answer is Unknown."""
    UNKNOWN_LATE = enum.auto()
    """The answer is Unknown; it is carried out by a later `land`, where it may conflict."""


class ReadFault(enum.Enum):
    """What becomes of one call other than append."""

    NONE = enum.auto()
    """It is carried out."""
    UNAVAILABLE = enum.auto()
    """It raises StoreUnavailable; nothing is carried out."""


class Faults(Protocol):
    """Chooses the faults, one call at a time."""

    def of_append(self) -> AppendFault:
        """The fate of the next append."""
        ...

    def of_read(self) -> ReadFault:
        """The fate of the next other call."""
        ...

    def delay_seconds(self) -> float:
        """How long the next call of any kind waits before anything else."""
        ...

    def lands_now(self) -> bool:
        """Whether the oldest late append is carried out before the next call."""
        ...


class ScriptedFaults:
    """Faults in the order given; none after the last one. Late appends land only when told to."""

    def __init__(
        self,
        *,
        appends: Iterable[AppendFault] = (),
        reads: Iterable[ReadFault] = (),
        delays_seconds: Iterable[float] = (),
    ) -> None:
        self.appends = deque(appends)
        self.reads = deque(reads)
        self.delays_seconds = deque(delays_seconds)

    def of_append(self) -> AppendFault:
        """See Faults."""
        return self.appends.popleft() if self.appends else AppendFault.NONE

    def of_read(self) -> ReadFault:
        """See Faults."""
        return self.reads.popleft() if self.reads else ReadFault.NONE

    def delay_seconds(self) -> float:
        """See Faults."""
        return self.delays_seconds.popleft() if self.delays_seconds else 0.0

    def lands_now(self) -> bool:
        """See Faults."""
        return False


class RandomFaults:
    """Each fault with its own probability; the same seed gives the same faults for the same calls."""

    def __init__(
        self,
        chooser: random.Random,
        *,
        unknown_written: float = 0.0,
        unknown_lost: float = 0.0,
        unknown_late: float = 0.0,
        unavailable: float = 0.0,
        landing: float = 0.3,
        longest_delay_seconds: float = 0.0,
    ) -> None:
        self._chooser = chooser
        self._appends = (
            (unknown_written, AppendFault.UNKNOWN_WRITTEN),
            (unknown_lost, AppendFault.UNKNOWN_LOST),
            (unknown_late, AppendFault.UNKNOWN_LATE),
        )
        self._unavailable = unavailable
        self._landing = landing
        self._longest_delay_seconds = longest_delay_seconds

    def of_append(self) -> AppendFault:
        """See Faults."""
        drawn = self._chooser.random()
        for probability, fault in self._appends:
            if drawn < probability:
                return fault
            drawn -= probability
        return AppendFault.NONE

    def of_read(self) -> ReadFault:
        """See Faults."""
        return ReadFault.UNAVAILABLE if self._chooser.random() < self._unavailable else ReadFault.NONE

    def delay_seconds(self) -> float:
        """See Faults."""
        return self._chooser.random() * self._longest_delay_seconds

    def lands_now(self) -> bool:
        """See Faults."""
        return self._chooser.random() < self._landing


class FaultyMessageLog:
    """A MessageLog around another. It keeps every law of the port: its faults are those that the port allows.

    `answers` counts what was answered to appends, so that a test can insist that its faults happened.
    `sleep` is how a delay passes; the default is real time.
    """

    def __init__(
        self,
        inner: MessageLog,
        faults: Faults,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._inner = inner
        self._faults = faults
        self._sleep = sleep
        self._late: deque[tuple[str, int, tuple[Row, ...], bytes]] = deque()
        self.answers: dict[AppendFault, int] = dict.fromkeys(AppendFault, 0)
        self.unavailable_reads = 0

    @property
    def late_appends(self) -> int:
        """How many appends are still to land."""
        return len(self._late)

    async def land(self) -> AppendResult | None:
        """Carry out the oldest late append, long after its answer. Returns how it went, None when there was
        none.

        A late append whose head is gone conflicts and writes nothing: that is what makes Unknown bearable.
        """
        if not self._late:
            return None
        return await self._inner.append(*self._late.popleft())

    async def append(
        self, channel_id: str, expected_head: int, rows: Sequence[Row], batch_id: bytes
    ) -> AppendResult:
        """See MessageLog."""
        await self._before()
        fault = self._faults.of_append()
        self.answers[fault] += 1
        if fault is AppendFault.UNKNOWN_LATE:
            self._late.append((channel_id, expected_head, tuple(rows), batch_id))
            return Unknown("planted: may be written later")
        if fault is AppendFault.UNKNOWN_LOST:
            return Unknown("planted: lost")
        result = await self._inner.append(channel_id, expected_head, rows, batch_id)
        return Unknown("planted: answer lost") if fault is AppendFault.UNKNOWN_WRITTEN else result

    async def head(self, channel_id: str) -> int:
        """See MessageLog."""
        await self._before_read()
        return await self._inner.head(channel_id)

    async def batch_at(self, channel_id: str, seq: int) -> bytes | None:
        """See MessageLog."""
        await self._before_read()
        return await self._inner.batch_at(channel_id, seq)

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
        """See MessageLog."""
        await self._before_read()
        return await self._inner.read(
            channel_id,
            from_seq,
            to_seq,
            limit=limit,
            limit_bytes=limit_bytes,
            newest_first=newest_first,
            only_messages=only_messages,
        )

    async def pick(self, channel_id: str, seqs: Sequence[int]) -> tuple[Row, ...]:
        """See MessageLog."""
        await self._before_read()
        return await self._inner.pick(channel_id, seqs)

    async def erase(self, channel_id: str, rows: Sequence[Row]) -> None:
        """See MessageLog."""
        await self._before_read()
        await self._inner.erase(channel_id, rows)

    async def compact(self) -> None:
        """See MessageLog."""
        await self._before_read()
        await self._inner.compact()

    async def fanned(self, channel_id: str) -> int:
        """See MessageLog."""
        await self._before_read()
        return await self._inner.fanned(channel_id)

    async def mark_fanned(self, channel_id: str, seq: int) -> None:
        """See MessageLog."""
        await self._before_read()
        await self._inner.mark_fanned(channel_id, seq)

    async def mark_active(self, slot: int, minute: int, channel_id: str) -> None:
        """See MessageLog."""
        await self._before_read()
        await self._inner.mark_active(slot, minute, channel_id)

    async def active(self, slot: int, since_minute: int) -> tuple[str, ...]:
        """See MessageLog."""
        await self._before_read()
        return await self._inner.active(slot, since_minute)

    async def _before(self) -> None:
        if self._late and self._faults.lands_now():
            await self.land()
        delay_seconds = self._faults.delay_seconds()
        if delay_seconds > 0:
            await self._sleep(delay_seconds)

    async def _before_read(self) -> None:
        await self._before()
        if self._faults.of_read() is ReadFault.UNAVAILABLE:
            self.unavailable_reads += 1
            raise StoreUnavailable("planted: the store does not answer")
