"""The example programs, run as a newcomer runs them."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import parley

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_server.testing.node_process import NodeProcess

ECHO_BOT = Path(__file__).resolve().parents[2] / "examples" / "echo_bot.py"
PASSWORD = "correct horse battery"


@asynccontextmanager
async def _echo_bot(
    node: NodeProcess, folder: Path, *, password: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running bot whose log-in lies in `folder`. Killed at the end if it has not left by itself."""
    environment = {**os.environ, "ECHO_BOT_PASSWORD": password, "PYTHONWARNINGS": "error"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ECHO_BOT),
        *("--server", node.address, "--tokens", str(folder / "tokens")),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _line_with(process: asyncio.subprocess.Process, part: str) -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while line := (await process.stdout.readline()).decode():
            if part in line:
                return line
        raise AssertionError(f"it ended without {part!r}: {(await process.stderr.read()).decode()}")


async def _ends(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(10):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def _next_from(stream: parley.EventStream, user_id: str) -> str:
    async with asyncio.timeout(30):
        async for event in stream:
            if isinstance(event, parley.MessageEvent) and event.actor_id == user_id:
                return event.text
    raise AssertionError("the stream ended")


async def test_the_echo_bot_answers_survives_a_restart_and_leaves_at_ctrl_c(
    node: NodeProcess, tmp_path: Path
) -> None:
    """Each message once, also those it was cut off from. Planted: answering its own; new ids for answers."""
    tokens = await parley.sign_up(node.address, "alice", PASSWORD)
    async with parley.connect(node.address, token=tokens) as alice:
        async with _echo_bot(node, tmp_path, password=PASSWORD) as bot:
            await _line_with(bot, "Ready")
            assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o600
            stream = alice.events()
            await stream.ready()
            echo = await alice.user("@echo")
            channel = await alice.direct(echo)
            texts = ["안녕 👋", "second", "x" * 100_000]
            for text in texts:
                await channel.send(text)
                assert await _next_from(stream, echo.user_id) == text
            bot.send_signal(signal.SIGSTOP)  # It sees the node's end only after the next message was written.
            await node.stop()
            await node.start()
            texts.append("while you were away")
            await channel.send(texts[-1])
            bot.send_signal(signal.SIGCONT)
            assert await _next_from(stream, echo.user_id) == texts[-1]
            bot.send_signal(signal.SIGINT)
            code, out, err = await _ends(bot)
            assert (code, err) == (0, "")
            assert out.endswith("Goodbye.\n")
        texts.append("while you were not running")
        await channel.send(texts[-1])
        async with _echo_bot(node, tmp_path) as bot:
            assert await _next_from(stream, echo.user_id) == texts[-1]
            texts.append("again, from the stored log-in")
            await channel.send(texts[-1])
            assert await _next_from(stream, echo.user_id) == texts[-1]
            bot.kill()  # Some answers may not have been acknowledged.
        async with _echo_bot(node, tmp_path) as bot:
            await _line_with(bot, "Ready")
            texts.append("after a kill")
            await channel.send(texts[-1])
            assert await _next_from(stream, echo.user_id) == texts[-1]
            bot.send_signal(signal.SIGINT)
            assert (await _ends(bot))[0] == 0
        history = [(message.actor_id, message.text) async for message in channel.history()]
        assert history == [(who, text) for text in reversed(texts) for who in (echo.user_id, alice.me)]
        assert len([device async for device in alice.devices()]) == 1


async def test_the_echo_bot_says_what_is_wrong(node: NodeProcess, tmp_path: Path) -> None:
    """One line and an exit code, never a traceback. Planted: ParleyError let through."""
    async with _echo_bot(node, tmp_path) as bot:
        code, _, err = await _ends(bot)
    assert code == 1
    assert err.splitlines() == [
        "echo_bot: set ECHO_BOT_PASSWORD to the bot's password, at least 8 characters"
    ]
    async with _echo_bot(node, tmp_path, password="short") as bot:
        code, _, err = await _ends(bot)
    assert code == 1
    assert err.startswith("echo_bot: INVALID_FIELD: password")
    tokens = await parley.sign_up(node.address, "echo", PASSWORD)
    (tmp_path / "tokens").write_text(tokens.to_json(), encoding="utf-8")
    async with parley.connect(node.address, token=tokens) as device:
        await device.log_out()
    async with _echo_bot(node, tmp_path) as bot:
        code, _, err = await _ends(bot)
    assert code == 1
    assert err.startswith("echo_bot: DEVICE_REVOKED")
    assert "start again with ECHO_BOT_PASSWORD set" in err
    (tmp_path / "tokens").write_text("{", encoding="utf-8")
    async with _echo_bot(node, tmp_path) as bot:
        code, _, err = await _ends(bot)
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "not stored tokens" in err


async def test_the_echo_bot_explains_itself() -> None:
    """--help needs no server. Planted: the epilog left out."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ECHO_BOT),
        "--help",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    code, out, err = await _ends(process)
    assert (code, err) == (0, "")
    for part in ("Answers every message", "--server", "--username", "--tokens", "ECHO_BOT_PASSWORD"):
        assert part in out
