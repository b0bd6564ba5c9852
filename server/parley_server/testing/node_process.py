"""A real node in a process of its own, for a test to stop, kill, pause and start again on the same data."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

START_LIMIT_SECONDS = 60.0
STOP_LIMIT_SECONDS = 20.0

# Tests call as fast as they can; those about rates set their own.
UNLIMITED_RATES = {
    f"rates.{name}": {"per_minute": 6_000_000, "burst": 100_000}
    for name in ("send", "sign_up", "log_in", "call", "stream", "frame")
}


def _transport_under_test() -> dict[str, object]:
    """PARLEY_TEST_TRANSPORT=wire runs every node of the tests on that transport."""
    name = os.environ.get("PARLEY_TEST_TRANSPORT")
    return {"transport": name} if name else {}


class NodeFailed(Exception):
    """The node did not start, or ended by itself. The message ends with what it wrote to standard error."""


class NodeProcess:
    """One node over one data folder. After the first start it keeps its port, so that clients find it again.

    `settings` are dotted paths as in `load_settings`; `plants` are files for `testing.serve`. Standard error
    goes to `<data>.stderr`.
    """

    def __init__(
        self, data: Path, settings: Mapping[str, object] | None = None, plants: tuple[Path, ...] = ()
    ) -> None:
        self.data = data
        self.settings: dict[str, object] = {
            "listen": "127.0.0.1:0",
            "data": str(data),
            "log_format": "text",
            **UNLIMITED_RATES,
            **_transport_under_test(),
            **(settings or {}),
        }
        self._plants = plants
        self._process: asyncio.subprocess.Process | None = None
        self.address = ""
        self.metrics_address = ""

    @property
    def pid(self) -> int:
        """The process id of the running node."""
        return self._running().pid

    @property
    def operator_token(self) -> str:
        """The first operator's access token."""
        return (self.data / "operator.token").read_text(encoding="utf-8").strip()

    @property
    def stderr(self) -> str:
        """All that the node wrote to standard error, over all its starts."""
        with contextlib.suppress(FileNotFoundError):
            return self._stderr_file.read_text(encoding="utf-8", errors="replace")
        return ""

    async def start(self) -> None:
        """Start the node and wait until it serves. Raises NodeFailed."""
        command = [sys.executable, "-m", "parley_server.testing.serve", json.dumps(self.settings)]
        with self._stderr_file.open("ab") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *command, *map(str, self._plants), stdout=asyncio.subprocess.PIPE, stderr=stderr
            )
        stdout = self._process.stdout
        assert stdout is not None
        async with asyncio.timeout(START_LIMIT_SECONDS):
            line = await stdout.readline()
        if not line:
            code = await self._process.wait()
            raise NodeFailed(f"the node ended with {code} before it served:\n{self.stderr[-4000:]}")
        addresses = json.loads(line)
        self.address = addresses["address"]
        self.metrics_address = addresses["metrics_address"]
        self.settings["listen"] = self.address

    async def stop(self) -> int:
        """End the node with SIGTERM. Returns its exit code. Raises TimeoutError if it does not leave."""
        self.send(signal.SIGTERM)
        return await self.wait()

    async def kill(self) -> None:
        """End the node with SIGKILL: nothing of it runs on."""
        self.send(signal.SIGKILL)
        await self.wait()

    def send(self, number: signal.Signals) -> None:
        """Send the node a signal."""
        os.kill(self._running().pid, number)

    async def close(self) -> None:
        """End the node if it still runs, however it stands."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGCONT)
                self._process.kill()
            await self.wait()

    async def wait(self) -> int:
        """Wait until the node has ended, and return its exit code. Raises TimeoutError if it does not."""
        process = self._running()
        async with asyncio.timeout(STOP_LIMIT_SECONDS):
            # Reading to the end closes the pipe's transport, which would otherwise outlive the loop.
            assert process.stdout is not None
            await process.stdout.read()
            return await process.wait()

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise NodeFailed("the node was never started")
        return self._process

    @property
    def _stderr_file(self) -> Path:
        return self.data.with_name(self.data.name + ".stderr")
