"""SQL accounts on threads: what calls wait for, who is refused, what a cancellation and closing leave."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from parley_server.backends.sql import engine, threads
from parley_server.backends.sql.accounts import SqlAccounts
from parley_server.backends.sql.schema import users
from parley_server.ports.message_log import StoreUnavailable
from parley_server.testing.accounts_rows import add_users

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Connection


@pytest.fixture
async def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqlAccounts]:
    """With a user. Who comes upon another's transaction fails at once instead of polling for it."""
    monkeypatch.setattr(engine, "_PRAGMAS", (*engine._PRAGMAS, "PRAGMA busy_timeout = 0"))
    accounts = await SqlAccounts.open(f"sqlite:///{tmp_path / 'accounts.db'}")
    await add_users(accounts, "bob")
    yield accounts
    await accounts.close()


class Held:
    """Work that stops in the middle until it is let go."""

    def __init__(self) -> None:
        self._begun, self._let_go = threading.Event(), threading.Event()

    def changes(self, connection: Connection) -> None:
        connection.execute(update(users).values(about="changed"))
        self.waits(connection)

    def waits(self, _connection: Connection) -> None:
        self._begun.set()
        assert self._let_go.wait(20)

    async def begun(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, 20)

    def let_go(self) -> None:
        self._let_go.set()


async def all_readers(accounts: SqlAccounts, held: Held) -> asyncio.Future[list[None]]:
    """Reads that hold all threads there are for them."""
    reading = asyncio.gather(*(accounts._reading(held.waits) for _ in range(engine.THREADS - 1)))
    await held.begun()
    return reading


async def test_who_cancels_a_change_goes_at_once_and_the_next_writer_waits_for_its_turn(
    accounts: SqlAccounts,
) -> None:
    """Planted: who is cancelled waits for the thread; found by the change that goes on. Planted: as many
    threads that write as there are in all; found by the next one, which came upon the transaction.
    """
    held = Held()
    change = asyncio.create_task(accounts._transaction(held.changes))
    await held.begun()
    change.cancel()
    await asyncio.wait([change], timeout=5)
    assert change.cancelled()
    following = asyncio.create_task(accounts.set_suspended("u-bob", 7))
    assert (await asyncio.wait([following], timeout=0.2))[1] == {following}
    held.let_go()
    changed = await following
    assert changed is not None
    assert (changed.about, changed.suspend_time_ms) == ("changed", 7)


async def test_what_nobody_waits_for_any_more_is_not_begun(accounts: SqlAccounts) -> None:
    """Or a store that hung would work for those that went, before it serves anybody. Planted: begun all the
    same; found by the user that was suspended.
    """
    held = Held()
    change = asyncio.create_task(accounts._transaction(held.changes))
    await held.begun()
    others = [asyncio.create_task(accounts.set_suspended("u-bob", number)) for number in range(30)]
    await asyncio.sleep(0)
    for other in others:
        other.cancel()
    await asyncio.wait(others)
    held.let_go()
    await change
    changed = await accounts._transaction(lambda connection: connection.execute(select(users)).one())
    assert (changed.about, changed.suspend_time_ms) == ("changed", None)


async def test_a_call_with_a_time_limit_keeps_it_while_all_threads_hang(accounts: SqlAccounts) -> None:
    """As health asks. Planted: who is cancelled waits for the thread; found by the call that goes on."""
    held = Held()
    reading = await all_readers(accounts, held)
    limited = asyncio.create_task(asyncio.wait_for(accounts.ping(), 0.05))
    await asyncio.wait([limited], timeout=5)
    assert limited.done() and isinstance(limited.exception(), TimeoutError)
    held.let_go()
    await reading
    await accounts.ping()


async def test_reads_that_wait_are_bounded(accounts: SqlAccounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were given up included, as long as a thread has yet to come upon them. Planted: no bound;
    the last call waited as well. Planted: who is given up not counted; found by the same.
    """
    monkeypatch.setattr(threads, "WAITING_LIMIT", engine.THREADS)
    held = Held()
    reading = await all_readers(accounts, held)
    waiting = asyncio.create_task(accounts.ping())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    with pytest.raises(StoreUnavailable, match="4 calls wait"):
        await asyncio.wait_for(accounts.ping(), 5)
    held.let_go()
    await reading
    await accounts.ping()


async def test_writers_that_wait_are_bounded_and_readers_do_not_wait_for_them(
    accounts: SqlAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: no bound for those that write; the third waited as well. Planted: one bound for reads and
    changes; found by the ping.
    """
    monkeypatch.setattr(threads, "WAITING_LIMIT", 2)
    held = Held()
    change = asyncio.create_task(accounts._transaction(held.changes))
    await held.begun()
    waiting = asyncio.create_task(accounts.set_suspended("u-bob", 6))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="2 calls wait"):
        await asyncio.wait_for(accounts.set_suspended("u-bob", 7), 5)
    await asyncio.wait_for(accounts.ping(), 5)
    held.let_go()
    await asyncio.gather(change, waiting)
    changed = await accounts.set_suspended("u-bob", 8)
    assert changed is not None and changed.suspend_time_ms == 8


async def test_closing_waits_for_the_calls_that_are_there(accounts: SqlAccounts) -> None:
    """Planted: connections closed under the change; found by its failure. Planted: the same without waiting
    for the threads that write.
    """
    held = Held()
    change = asyncio.create_task(accounts._transaction(held.changes))
    await held.begun()
    following = asyncio.create_task(accounts.set_suspended("u-bob", 7))
    await asyncio.sleep(0)
    closing_it = asyncio.create_task(accounts.close())
    assert (await asyncio.wait([closing_it], timeout=0.2))[1] == {closing_it}
    held.let_go()
    await change
    assert await following is not None
    await closing_it


async def test_after_closing_nothing_is_opened_again(accounts: SqlAccounts) -> None:
    """Planted: the flag left out; found by an error of the threads'."""
    await accounts.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await accounts.ping()
    with pytest.raises(StoreUnavailable, match="closed"):
        await accounts.set_suspended("u-bob", 1)
