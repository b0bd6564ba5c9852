"""The README is true: its commands are run as they stand, top to bottom, and what they print is compared.

A `sh` block is run by bash on a pseudo-terminal, where passwords are typed at the prompts. The word after
`sh` says what is different: `setup` changes the machine (checked in other ways), `follow` runs on until the
end, and before `restarted` the server is stopped and started again. A `text` block after it is what is
printed; `…` stands for anything on one line, and a line of `…` alone for any lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from parley_runtime.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_ROOT = Path(__file__).resolve().parents[2]
_README = _ROOT / "README.md"
_LIMIT_SECONDS = 60.0
_DEFAULT_ADDRESS = "127.0.0.1:50051"
_BLOCK = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPTS = (b"Password: ", b"The same again: ")
_ON_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


@dataclass(frozen=True)
class Block:
    """A fenced block, and the `text` block right after it, if there is one."""

    language: str
    word: str
    text: str
    printed: str | None


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    matches = list(_BLOCK.finditer(page))
    found: list[Block] = []
    for match, after in zip(matches, [*matches[1:], None], strict=True):
        if match[1] == "text":
            continue
        follows = after is not None and after[1] == "text" and not page[match.end() : after.start()].strip()
        found.append(Block(match[1], match[2] or "", match[3], after[3] if follows and after else None))
    return found


def pattern_of(printed: str) -> re.Pattern[str]:
    """What a `text` block stands for."""
    lines = [
        r"(?:.*\n)*?"
        if line == "…"
        else ".*".join(re.escape(part) for part in line.rstrip().split("…")) + r" *\n"
        for line in printed.splitlines()
    ]
    return re.compile("".join(lines))


class Shell:
    """One command line on a pseudo-terminal: collects what it shows, types passwords when asked."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._shown = b""
        self._answered = 0
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @property
    def shown(self) -> str:
        """All that the terminal shows up to now."""
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    async def ended(self) -> int:
        """Wait for the end; the exit code."""
        async with asyncio.timeout(_LIMIT_SECONDS):
            await self._reading
            return await self._process.wait()

    async def shows(self, pattern: re.Pattern[str]) -> None:
        """Wait until the terminal shows this."""
        try:
            async with asyncio.timeout(_LIMIT_SECONDS):
                while not pattern.search(self.shown):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pytest.fail(f"{pattern.pattern}\nis not in\n{self.shown}")

    def press_ctrl_c(self) -> None:
        """As a person does."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\x03")

    async def close(self) -> None:
        """End it if it still runs."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.wait([self._reading], timeout=_LIMIT_SECONDS)
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def _read(self) -> None:
        stdout, stdin = self._process.stdout, self._process.stdin
        assert stdout is not None and stdin is not None
        while chunk := await stdout.read(65536):
            self._shown += chunk
            self._news.set()
            if self._shown.endswith(_PROMPTS) and len(self._shown) > self._answered:
                self._answered = len(self._shown)
                stdin.write(b"a long password\n")


class Reader:
    """Somebody who follows the README in a folder of their own."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        bin_folder = folder / ".venv" / "bin"
        bin_folder.mkdir(parents=True)
        program = bin_folder / "parley"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m parley_cli "$@"\n')
        program.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
        # Only the port differs from the README: 50051 may be taken here.
        self.environ = kept | {
            "PATH": f"{bin_folder}:{kept['PATH']}",
            "PARLEY_HOME": str(folder / "home"),
            "PARLEY_SERVER": address,
            "PARLEY_LISTEN": address,
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
        }
        self.address = address
        self.shells: list[Shell] = []

    async def start(self, *command: str) -> Shell:
        """Start a command on a pseudo-terminal."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _ON_A_TERMINAL,
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env=self.environ,
            start_new_session=True,
        )
        shell = Shell(process)
        self.shells.append(shell)
        return shell

    async def serve(self) -> Shell:
        """What `make run` does last."""
        server = await self.start("parley", "up")
        await server.shows(re.compile(re.escape(f"Parley is running on {self.address}.")))
        return server

    def pattern(self, printed: str) -> re.Pattern[str]:
        """What a `text` block stands for, with the address of this test."""
        return pattern_of(printed.replace(_DEFAULT_ADDRESS, self.address))


@pytest.fixture
def free_address() -> str:
    """An address of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
async def reader(tmp_path: Path, free_address: str) -> AsyncIterator[Reader]:
    folder = tmp_path / "clone"
    folder.mkdir()
    shutil.copy(_README, folder)
    reader = Reader(folder, free_address)
    yield reader
    for shell in reader.shells:
        await shell.close()


@pytest.mark.timeout(300)
async def test_everything_in_the_readme_works_as_it_stands(reader: Reader) -> None:
    """Planted: a renamed option in one block, and a changed word in one output, were caught here."""
    server = await reader.serve()
    following: list[tuple[Shell, Block]] = []
    steps: dict[tuple[str, str], Callable[[Block], Awaitable[None]]] = {}

    async def run(block: Block) -> None:
        command = ["bash", "-euo", "pipefail", "-c", block.text]
        if block.language == "python":
            script = reader.folder / "example.py"
            script.write_text(block.text.replace(_DEFAULT_ADDRESS, reader.address))
            command = [sys.executable, str(script)]
        shell = await reader.start(*command)
        assert await shell.ended() == 0, f"{block.text}\n{shell.shown}"
        if block.printed is not None:
            pattern = reader.pattern(block.printed)
            assert pattern.fullmatch(shell.shown), f"{block.printed}\nis not\n{shell.shown}"

    async def follow(block: Block) -> None:
        shell = await reader.start("bash", "-c", f"exec {block.text}")
        await shell.shows(re.compile("Listening as "))
        following.append((shell, block))

    async def run_restarted(block: Block) -> None:
        nonlocal server
        server.press_ctrl_c()
        assert await server.ended() == 130
        server = await reader.serve()
        await run(block)

    steps[("sh", "")] = steps[("python", "")] = run
    steps[("sh", "follow")] = follow
    steps[("sh", "restarted")] = run_restarted
    done = 0
    for block in blocks_of(_README.read_text(encoding="utf-8")):
        if block.word == "setup" or block.language == "toml":
            continue
        await steps[(block.language, block.word)](block)
        done += 1
    assert done >= 9
    for shell, block in following:
        assert block.printed is not None
        await shell.shows(reader.pattern(block.printed))
        shell.press_ctrl_c()
        assert await shell.ended() == 130


def test_commands_that_set_up_the_machine_do_what_is_said() -> None:
    setup = [
        block.text.strip()
        for block in blocks_of(_README.read_text(encoding="utf-8"))
        if block.word == "setup"
    ]
    assert setup == [
        "sudo apt-get update && sudo apt-get install --yes git make python3-venv",
        "make run",
        "make test",
    ]
    if shutil.which("make") is None:
        pytest.skip("no make here")

    def would_do(target: str) -> str:
        return subprocess.run(
            ["make", "--dry-run", target], cwd=_ROOT, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    assert re.search(r"\bparley up\b", would_do("run"))
    assert "pytest" in would_do("test")


def test_the_settings_in_the_readme_are_settings(tmp_path: Path) -> None:
    (text,) = [
        block.text for block in blocks_of(_README.read_text(encoding="utf-8")) if block.language == "toml"
    ]
    file = tmp_path / "parley.toml"
    file.write_text(text, encoding="utf-8")
    settings = load_settings(file, {}, {})
    assert (settings.auth.sign_up, settings.metrics_listen) == ("closed", "127.0.0.1:9464")


def test_every_link_leads_somewhere() -> None:
    page = _README.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]+)\)", page):
        path, _, anchor = link.partition("#")
        assert path == "" or (_ROOT / path).exists(), link
        assert path != "" or anchor in headings, link


def test_the_pattern_of_a_text_block() -> None:
    """What the comparison above rests on."""
    assert pattern_of("a … c\n").fullmatch("a b c\n")
    assert not pattern_of("a … c\n").fullmatch("a b d\n")
    assert pattern_of("…\nend\n").fullmatch("x\ny\nend\n")
    assert not pattern_of("one\n").fullmatch("one\ntwo\n")
