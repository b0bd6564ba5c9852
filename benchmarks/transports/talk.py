"""A process that takes orders: one JSON line in, one JSON line out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from benchmarks.machine import on_cores
from benchmarks.parties import GeneratorFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ANSWER_SECONDS = 120.0
LEAVE_SECONDS = 5.0


class Talk:
    """One such process, pinned to `cores`. Made by `begin`; whoever made it calls `end`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process

    @staticmethod
    async def begin(
        name: str, command: Sequence[str], cores: frozenset[int], environment: Mapping[str, str]
    ) -> Talk:
        """Start it."""
        with on_cores(cores):
            process = await asyncio.create_subprocess_exec(
                *command,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        return Talk(name, process)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def tell(self, **line: object) -> None:
        """Write one line."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(json.dumps(line).encode() + b"\n")
        try:
            await stdin.drain()
        except ConnectionError as error:
            raise GeneratorFailed(f"{self._name} ended with {await self._process.wait()}") from error

    async def answer(self, limit_seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Read one line. Raises GeneratorFailed with what it says, when it is gone, or when it is silent."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(limit_seconds):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise GeneratorFailed(f"{self._name} does not answer") from error
        if not line:
            raise GeneratorFailed(f"{self._name} ended with {await self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if answer.get("failed"):
            raise GeneratorFailed(f"{self._name}: {answer['failed']}")
        return answer

    async def ask(self, **line: object) -> dict[str, Any]:
        """Tell and wait for the answer."""
        await self.tell(**line)
        return await self.answer()

    async def end(self) -> None:
        """End the process, at once."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        async with asyncio.timeout(LEAVE_SECONDS):
            await self._process.wait()
