"""Programs in terminals, driven as a person would: keys go in, a screen comes out. Needs tmux."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SEEN_SECONDS = 20.0
"""How long a program may take until the screen shows what is waited for."""

POLL_SECONDS = 0.04
"""How often the screen is looked at."""

_CALM_POLLS = 8
"""A screen that was the same so often in a row is finished."""


class Tmux:
    """A tmux server of its own at `socket`, without anybody's settings. Its programs get `environ`."""

    def __init__(self, program: str, socket: Path, environ: dict[str, str]) -> None:
        self._command = (program, "-u", "-S", str(socket), "-f", "/dev/null")
        self._environ = environ

    async def do(self, *arguments: str) -> str:
        """Run a tmux command; what it prints."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environ,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, (arguments, err.decode())
        return out.decode()

    async def two_panes(self, commands: tuple[str, str], columns: int, rows: int) -> tuple[Pane, Pane]:
        """One window, split in two from left to right, each pane with a command in it."""
        size = ("-x", str(2 * columns + 1), "-y", str(rows))
        first = await self.do("new-session", "-d", "-P", "-F", "#{pane_id}", *size, commands[0])
        await self.do("set-option", "-g", "remain-on-exit", "on")
        second = await self.do("split-window", "-h", "-P", "-F", "#{pane_id}", commands[1])
        return Pane(self, first.strip()), Pane(self, second.strip())


class Pane:
    """One terminal."""

    def __init__(self, tmux: Tmux, name: str) -> None:
        self._tmux = tmux
        self.name = name

    async def screen(self) -> str:
        """What is on the screen now."""
        return await self._tmux.do("capture-pane", "-p", "-t", self.name)

    async def shows(self, *parts: str, without: str | None = None, seconds: float = SEEN_SECONDS) -> str:
        """Wait until all parts are on the screen and `without` is not; the screen then. Raises AssertionError
        with the screen when that does not come.
        """
        screen = ""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    screen = await self.screen()
                    if all(part in screen for part in parts) and (without is None or without not in screen):
                        return screen
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise AssertionError(f"never seen: {parts} without {without!r}. The screen:\n{screen}") from None

    async def calm(self) -> str:
        """Wait until the screen stays as it is; the screen then."""
        before, same = "", 0
        while same < _CALM_POLLS:
            await asyncio.sleep(POLL_SECONDS)
            screen = await self.screen()
            before, same = screen, same + 1 if screen == before else 0
        return before

    async def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        await self._tmux.do("send-keys", "-t", self.name, *keys)

    async def type(self, text: str) -> None:
        """Type a text. An input method hands over whole syllables, as this does."""
        await self._tmux.do("send-keys", "-t", self.name, "-l", text)

    async def say(self, text: str) -> None:
        """Type a message and send it."""
        await self.type(text)
        await self.shows(text)
        await self.press("Enter")

    async def cursor(self) -> tuple[int, int]:
        """Where the terminal's cursor is: column and row."""
        found = await self._tmux.do("display", "-p", "-t", self.name, "#{cursor_x} #{cursor_y}")
        column, row = found.split()
        return int(column), int(row)
