"""Passwords: slow by design, bounded in number, and silent about which half was wrong."""

from __future__ import annotations

import asyncio
import secrets
import threading
import unicodedata
from dataclasses import replace

import argon2
import pytest

from parley_runtime.refusal import Reason, Refusal
from parley_server.accounts.passwords import PasswordPool
from parley_server.accounts.settings import AccountSettings


async def test_the_right_password_only(passwords: PasswordPool) -> None:
    """Planted: an empty hash matches; found by the third line."""
    kept = await passwords.hash("correct horse")
    assert await passwords.verify("correct horse", kept)
    assert not await passwords.verify("wrong horse", kept)
    assert not await passwords.verify("", "")
    assert not await passwords.verify("correct horse", "")
    assert kept != await passwords.hash("correct horse")


async def test_keyboards_differ_in_composition(passwords: PasswordPool) -> None:
    """Planted: the text hashed as it comes; found by the decomposed form."""
    kept = await passwords.hash(unicodedata.normalize("NFD", "비밀번호각각"))
    assert await passwords.verify("비밀번호각각", kept)


async def test_the_defaults_are_argon2s() -> None:
    """The dummy for unknown names costs what a real one costs. Planted: other parameters in the dummy;
    found here.
    """
    pool = PasswordPool(AccountSettings(), secrets.token_bytes)
    try:
        expected = argon2.extract_parameters(argon2.PasswordHasher().hash("x" * 8))
        assert argon2.extract_parameters(pool._nobody) == expected
        assert argon2.extract_parameters(await pool.hash("x" * 8)) == expected
    finally:
        await pool.close()


async def test_more_than_may_wait_are_refused(settings: AccountSettings) -> None:
    """Planted: no bound; found by the one too many. Planted: places not given back; found by the
    replacement.
    """
    pool = PasswordPool(replace(settings, password_workers=1, password_waiting=2), secrets.token_bytes)
    gate, running = threading.Event(), threading.Event()

    def blocked() -> str:
        running.set()
        assert gate.wait(30)
        return "done"

    try:
        first = asyncio.create_task(pool._run(blocked))
        await asyncio.to_thread(running.wait, 30)
        waiting = [asyncio.create_task(pool.hash("12345678")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as caught:
            await pool.hash("12345678")
        assert caught.value.reason is Reason.SERVER_BUSY
        assert caught.value.retry_after_seconds
        # One that waits goes away: its place is free again although the worker is still busy.
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        replacement = asyncio.create_task(pool.hash("12345678"))
        await asyncio.sleep(0)
        assert not replacement.done()
        gate.set()
        assert await first == "done"
        assert all([await waiting[1], await replacement])
        assert pool._taken == 0
    finally:
        gate.set()
        await pool.close()


async def test_a_damaged_hash_is_an_error_and_not_a_wrong_password(passwords: PasswordPool) -> None:
    """Planted: every error taken for a mismatch; found here."""
    with pytest.raises(argon2.exceptions.InvalidHashError):
        await passwords.verify("12345678", "plain text")
