"""The processes of a measurement: the node, and the generators that load it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgspec
import psutil
from benchmarks.clients import ROUND_LIMIT_SECONDS
from benchmarks.machine import ROOT, Cores, cpu_seconds, on_cores

from parley_server.testing.node_process import NodeProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from benchmarks.clients import Plan

ANSWER_SLACK_SECONDS = 30.0
LEAVE_LIMIT_SECONDS = 5.0

# A figure must be about the node's speed, not about what it lets a user do.
SETTINGS: dict[str, object] = {
    **{
        f"rates.{name}": {"per_minute": 60_000_000, "burst": 1_000_000}
        for name in ("send", "sign_up", "log_in", "call", "stream", "frame")
    },
    "limits.streams": 20_000,
    "sessions.lease_seconds": 600.0,
    "sessions.background_lease_seconds": 600.0,
    "log_level": "warning",
}


class GeneratorFailed(Exception):
    """A generator could not do what it was told. The message is its own."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in bytes: resident, and resident with shared pages divided among their users."""

    rss: int
    pss: int


class Node:
    """One node over one data folder, pinned to its core. `settings` come on top of those of every node;
    `plants` are bugs for a test to find.
    """

    def __init__(
        self,
        data: Path,
        cores: Cores,
        settings: Mapping[str, object] | None = None,
        plants: tuple[Path, ...] = (),
    ) -> None:
        self._process = NodeProcess(data, {**SETTINGS, **(settings or {})}, plants)
        self._cores = cores

    async def __aenter__(self) -> Self:
        with on_cores(self._cores.node):
            await self._process.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._process.close()

    @property
    def address(self) -> str:
        """host:port"""
        return self._process.address

    @property
    def metrics_address(self) -> str:
        """host:port of its metrics; empty unless `metrics_listen` is set."""
        return self._process.metrics_address

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def cpu_seconds(self) -> float:
        """CPU time so far, all threads."""
        return cpu_seconds(self.pid)

    @property
    def memory(self) -> Memory:
        """Now."""
        info = psutil.Process(self.pid).memory_full_info()
        return Memory(info.rss, info.pss)


@dataclass(frozen=True, slots=True)
class Round:
    """A generator's answer and what the node spent meanwhile."""

    answer: dict[str, Any]
    node_cpu_seconds: float

    @property
    def seconds(self) -> float:
        """How long the round took, by the generator's clock."""
        return float(self.answer["seconds"])

    @property
    def generator_cpu_share(self) -> float:
        """The part of its core that the generator used."""
        return float(self.answer["cpu_seconds"]) / self.seconds

    @property
    def node_cpu_share(self) -> float:
        """The part of its core that the node used."""
        return self.node_cpu_seconds / self.seconds


class Generator:
    """One load generator, pinned to the generators' core, with the first `open_at_once` of its clients open.

    It ends with the block.
    """

    def __init__(self, plan: Plan, node: Node, cores: Cores, *, open_at_once: int | None = None) -> None:
        self._plan = plan
        self._open_at_once = len(plan.devices) if open_at_once is None else open_at_once
        self._node = node
        self._cores = cores
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with on_cores(self._cores.generator):
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "benchmarks.load",
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        await self._tell(msgspec.json.encode(self._plan))
        await self.run(do="open", up_to=self._open_at_once)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        if kind is not None:
            # It may be in the middle of a round: nobody waits for that any more.
            _kill(process)
        try:
            async with asyncio.timeout(LEAVE_LIMIT_SECONDS):
                await process.wait()
        finally:
            _kill(process)

    @property
    def cpu_seconds(self) -> float:
        """Its CPU time so far."""
        assert self._process is not None
        return cpu_seconds(self._process.pid)

    async def run(self, **order: object) -> Round:
        """Carry out one order and measure the node meanwhile. Raises GeneratorFailed."""
        process = self._process
        assert process is not None and process.stdout is not None
        before = self._node.cpu_seconds
        await self._tell(json.dumps(order).encode())
        limit_seconds = order.get("limit_seconds", ROUND_LIMIT_SECONDS)
        assert isinstance(limit_seconds, float)
        async with asyncio.timeout(limit_seconds + ANSWER_SLACK_SECONDS):
            line = await process.stdout.readline()
        after = self._node.cpu_seconds
        if not line:
            raise GeneratorFailed(f"the generator ended with {await process.wait()}")
        answer = json.loads(line)
        if "failed" in answer:
            raise GeneratorFailed(answer["failed"])
        return Round(answer, after - before)

    async def _tell(self, line: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        await self._process.stdin.drain()


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
