"""The state stores: both keep what they took, for one user and one client at a time."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import sys
from typing import TYPE_CHECKING

import pytest

import parley
from parley.chat.v1 import message_requests_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], parley.State]:
    """Makes the store again, as a program that starts again does."""
    memory = parley.MemoryState()
    if request.param == "memory":
        return lambda: memory
    return lambda: parley.SqliteState(tmp_path / "state")


def _message(number: int) -> message_requests_pb2.SendMessageRequest:
    return message_requests_pb2.SendMessageRequest(
        channel_id="c", client_message_id=f"id-{number}", text="안녕 👋", attributes={"k": "v"}
    )


async def test_what_was_taken_is_there_again(make: Callable[[], parley.State]) -> None:
    """Newest channel last, messages in their order. Planted once: the order of the table; the whole outbox
    emptied.
    """
    state = make()
    assert await state.open("u") == parley.StoredState()
    await state.save_position({"a": 1, "b": 2}, "x")
    await asyncio.gather(*(state.add_message(_message(number)) for number in range(50)))
    await state.add_message(_message(3))
    await state.save_position({"a": 5}, "")
    await state.remove_messages(["id-0", "id-7", "unknown"])
    await state.close()
    again = make()
    stored = await again.open("u")
    assert (stored.cursor, list(stored.seqs.items())) == ("x", [("b", 2), ("a", 5)])
    assert stored.outbox == [_message(number) for number in range(50) if number not in (0, 7)]
    await again.save_position({"b": 9}, "y")
    await again.close()
    last = make()
    stored = await last.open("u")
    assert (stored.cursor, list(stored.seqs.items())) == ("y", [("a", 5), ("b", 9)])
    await last.close()


async def test_it_is_one_users(make: Callable[[], parley.State]) -> None:
    """Another's cursor would hide messages. Planted once: no check."""
    state = make()
    await state.open("u")
    await state.close()
    with pytest.raises(parley.StateError, match="of user u, not of v"):
        await make().open("v")
    again = make()
    await again.open("u")
    await again.close()


async def test_it_is_one_clients(make: Callable[[], parley.State]) -> None:
    """Two on one position lose events. Planted once: locking_mode NORMAL."""
    state = make()
    await state.open("u")
    with pytest.raises(parley.StateError, match="used by another"):
        await make().open("u")
    await state.close()


async def test_the_file_is_private_and_its_version_checked(tmp_path: Path) -> None:
    """It holds texts. Planted once: the mode of the umask; a newer schema read as ours."""
    path = tmp_path / "state"
    state = parley.SqliteState(path)
    await state.open("u")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await state.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(parley.StateError, match="newer version"):
        await parley.SqliteState(path).open("u")


async def test_what_cannot_be_a_store_says_so(tmp_path: Path) -> None:
    """Planted once: sqlite3's errors let through."""
    (tmp_path / "text").write_text("not a database, but long enough to be taken for one\n" * 100)
    for path in (tmp_path / "text", tmp_path / "missing" / "state", tmp_path):
        with pytest.raises(parley.StateError, match=str(path)):
            await parley.SqliteState(path).open("u")
    with pytest.raises(parley.StateError, match="whose they are"):
        await parley.SqliteState(tmp_path / "state").open("")


_WRITER = """
import asyncio, sys, parley
async def main():
    state = parley.SqliteState(sys.argv[1])
    await state.open("u")
    for number in range(1, 1_000_000):
        await state.save_position({"a": number, "b": number}, str(number))
        print(number, flush=True)
asyncio.run(main())
"""


async def test_a_kill_loses_nothing_that_was_taken(tmp_path: Path) -> None:
    """All of a change or nothing of it. Planted once: two transactions for one change."""
    told = 0
    for _ in range(3):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _WRITER, str(tmp_path / "state")), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        for _ in range(20):
            told = int(await process.stdout.readline())
        process.kill()
        rest = (await process.stdout.read()).split()
        await process.wait()
        told = int(rest[-1]) if rest and len(rest[-1]) >= len(str(told)) else told
        state = parley.SqliteState(tmp_path / "state")
        stored = await state.open("u")
        await state.close()
        assert stored.seqs["a"] == stored.seqs["b"] == int(stored.cursor)
        assert int(stored.cursor) >= told
