"""A node's memory and queues, looked at again and again while it works."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.parties import Node

INTERVAL_SECONDS = 0.1
WAITING_BYTES = "parley_streams_waiting_bytes"
LAGGED = "parley_streams_lagged_total"
METRICS_SETTINGS: dict[str, object] = {"metrics_listen": "127.0.0.1:0"}
"""What a node must be told so that it can be watched."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: when (monotonic clock), resident memory, what waits for readers, how often streams lagged."""

    time: float
    rss: int
    waiting_bytes: int
    lagged: int


async def look(node: Node) -> Sample:
    """Look once. Raises OSError when the node does not answer."""
    host, _, port = node.metrics_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        lines = (await reader.read()).decode().splitlines()
    finally:
        writer.close()
    values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("parley_streams_"))
    rss = psutil.Process(node.pid).memory_info().rss
    return Sample(time.monotonic(), rss, int(float(values[WAITING_BYTES])), int(float(values[LAGGED])))


class Watch:
    """Looks every 0.1 s while the block runs; `samples` in order of time, the first from its beginning."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._task: asyncio.Task[None] | None = None
        self.samples: list[Sample] = []

    async def __aenter__(self) -> Self:
        self.samples.append(await look(self._node))
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def between(self, start: float, end: float) -> list[Sample]:
        """The samples of that time; where there is none, the last one before it ended."""
        found = [one for one in self.samples if start <= one.time <= end]
        return found or [one for one in self.samples if one.time <= end][-1:]

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            self.samples.append(await look(self._node))
