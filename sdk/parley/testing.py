"""A throw-away server for the tests of programs that use this package.

    import parley.testing

    async def test_my_bot():
        async with parley.testing.server() as server:
            alice = await server.user("alice")
            async with parley.connect(server.address, token=alice) as client:
                ...

It needs `pip install parley-chat[testing]`. The server runs in a process of its own, over a data folder of
its own, and ends with the test, also when the test is killed (on Linux).
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from parley._login import log_in, sign_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from parley._tokens import Tokens

PASSWORD = "correct horse battery"
"""The password of the users that `Server.user` makes."""

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
# Tests call as fast as they can.
_NO_RATES = {
    f"rates.{name}": {"per_minute": 6_000_000, "burst": 100_000}
    for name in ("send", "sign_up", "log_in", "call", "stream", "frame")
}


class ServerFailed(Exception):
    """The server did not start. The message ends with what it wrote to standard error."""


class Server:
    """A running server."""

    def __init__(self, data: Path, settings: Mapping[str, object] | None) -> None:
        self._data = data
        self._settings: dict[str, object] = {
            "listen": "127.0.0.1:0",
            "data": str(data),
            "log_format": "text",
            **_NO_RATES,
            **(settings or {}),
        }
        self._process: asyncio.subprocess.Process | None = None
        self.address = ""
        self._token_file = data

    @property
    def operator_token(self) -> str:
        """The access token of an operator, for `client.admin`."""
        return self._token_file.read_text(encoding="utf-8").strip()

    async def user(self, username: str, *, device_name: str = "") -> Tokens:
        """A new account with the password `PASSWORD`, logged in. Raises `UsernameTaken`."""
        return await sign_up(self.address, username, PASSWORD, device_name=device_name)

    async def device(self, username: str, *, device_name: str = "") -> Tokens:
        """Another device of a user that `user` made."""
        return await log_in(self.address, username, PASSWORD, device_name=device_name)

    async def stop(self) -> None:
        """End the server in good order. Its data stays: `start` continues it."""
        await self._end(kill=False)

    async def kill(self) -> None:
        """End the server as a loss of power does. Its data stays: `start` continues it."""
        await self._end(kill=True)

    async def start(self) -> None:
        """Start the server on its data, at the address that it had. Raises ServerFailed."""
        stderr_file = self._data.with_name("stderr")
        with stderr_file.open("ab") as stderr:
            self._process = process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "parley_server.testing.serve", json.dumps(self._settings)),
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
        assert process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            line = await process.stdout.readline()
        if not line:
            await self._end(kill=True)
            said = stderr_file.read_text(encoding="utf-8", errors="replace")[-4000:]
            if "parley_server" in said and "No module named" in said:
                said += "\nInstall what it needs: pip install 'parley-chat[testing]'"
            raise ServerFailed(f"the server did not start:\n{said}")
        told = json.loads(line)
        self.address = told["address"]
        self._token_file = Path(told["operator_token_file"])
        self._settings["listen"] = self.address

    async def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdout is not None
        if process.returncode is None:
            if kill:
                process.kill()
            else:
                process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.stdout.read()
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.stdout.read()
            await process.wait()


@asynccontextmanager
async def server(settings: Mapping[str, object] | None = None) -> AsyncIterator[Server]:
    """A server that runs as long as the block does, on a free port of this machine.

    `settings` are the server's own, by dotted path: `{"limits.group_members": 3}`. Rates are not limited
    unless they say so. Raises ServerFailed when it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="parley-test-") as folder:
        running = Server(Path(folder) / "data", settings)
        try:
            await running.start()
            yield running
        finally:
            await running._end(kill=True)
