"""docs/grpcurl-and-python.md does what it says: its blocks are run in order and their output compared."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_server.testing.node_process import NodeProcess

PAGE = Path(__file__).resolve().parents[2] / "docs" / "grpcurl-and-python.md"
PAGE_ADDRESS = "localhost:50051"
_END_MARK = "--- end of block ---"


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code on the page, what it is to print, and the line where it begins."""

    language: str
    code: str
    expected: str
    line: int


def blocks_of(page: str) -> list[Block]:
    """The code blocks in order; a text block right behind one is its output, none means no output."""
    found = list(re.finditer(r"^```(\w+)\n(.*?)^```\n", page, re.DOTALL | re.MULTILINE))
    blocks = []
    for number, match in enumerate(found):
        if match[1] == "text":
            continue
        after = found[number + 1] if number + 1 < len(found) else None
        own = after is not None and after[1] == "text" and after.start() == match.end()
        expected = after[2] if after is not None and own else ""
        blocks.append(Block(match[1], match[2], expected, page.count("\n", 0, match.start()) + 1))
    return blocks


def fits(expected: str, printed: str) -> bool:
    """Whether the output is the expected one; … stands for anything within a line, alone for any lines."""
    pattern = re.escape(expected)
    pattern = re.sub(r"(?m)^…\n", "(?:.*\n)*?", pattern.replace("\\\n", "\n")).replace("…", ".*")
    return re.fullmatch(pattern, printed) is not None


class Shell:
    """One bash that runs block after block, so that variables and jobs stay."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, code: str) -> str:
        """What the block printed, on both outputs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{code}\nprintf '%s\\n' '{_END_MARK}'\n".encode())
        printed = ""
        while not printed.endswith(_END_MARK + "\n"):
            line = await self._process.stdout.readline()
            assert line, f"the shell ended: {printed}"
            printed += line.decode()
        return printed.removesuffix(_END_MARK + "\n")


@pytest.fixture
async def shell(grpcurl: Path, tmp_path: Path) -> AsyncIterator[Shell]:
    """A bash with grpcurl on its path, in an empty folder."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "--norc",
        env={"PATH": f"{grpcurl.parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"},
        cwd=tmp_path,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    yield Shell(process)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # What it runs in the background holds its output open.
    await process.communicate()


async def run_python(code: str, names: dict[str, Any]) -> str:
    """What a block with `await` at its top level printed."""
    compiled = compile(code, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(compiled, CodeType)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        running = FunctionType(compiled, names)()
        if inspect.iscoroutine(running):
            await running
    return printed.getvalue()


@pytest.mark.needs_go
async def test_the_page_does_what_it_says(node: NodeProcess, shell: Shell) -> None:
    """Every block, against a real node. Planted: a wrong field in a grpcurl call; another output."""
    blocks = blocks_of(PAGE.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    async with asyncio.timeout(90):
        for block in blocks:
            code = block.code.replace(PAGE_ADDRESS, node.address)
            printed = await (shell.run(code) if block.language == "sh" else run_python(code, names))
            assert fits(block.expected, printed), f"{PAGE.name}:{block.line} printed:\n{printed}"
    assert {block.language for block in blocks} == {"sh", "python"}


def test_each_step_stands_on_both_sides() -> None:
    """grpcurl beside Python, in every section. Planted: the Python half of a section removed."""
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(sections) >= 6
    for section in sections:
        assert {block.language for block in blocks_of(section)} == {"sh", "python"}, section.splitlines()[0]


def test_an_output_that_differs_does_not_fit() -> None:
    """The comparison itself. Planted: a search instead of a match of the whole."""
    assert fits("a …\nb\n", "a 1\nb\n")
    assert fits("a\n…\nb\n", "a\n1\n2\nb\n")
    assert fits("a\n…\nb\n", "a\nb\n")
    assert not fits("a …\nb\n", "a 1\nb\nc\n")
    assert not fits("", "something\n")
    assert not fits("a.c\n", "abc\n")
