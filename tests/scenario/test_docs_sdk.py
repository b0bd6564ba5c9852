"""docs/sdk.md does what it says."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
from pathlib import Path
from types import CodeType, FunctionType

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sdk.md"


async def test_the_page_does_what_it_says() -> None:
    """Its blocks, run in order as one program, print what stands there. Against: another output there."""
    found = re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == PAGE.read_text(encoding="utf-8").count("```python") == 4
    program: dict[str, object] = {}
    for block, expected in found:
        compiled = compile(block, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        assert isinstance(compiled, CodeType)
        printed = io.StringIO()
        async with asyncio.timeout(60):
            with contextlib.redirect_stdout(printed):
                running = FunctionType(compiled, program)()
                assert inspect.iscoroutine(running)
                await running
        assert printed.getvalue() == expected
