"""Accounts on the memory store with a clock that stands still and a password hash that is quick."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from parley_runtime.tokens import KeyRing, SigningKey, TokenIssuer, TokenVerifier
from parley_server.accounts.authenticator import Authenticator
from parley_server.accounts.passwords import PasswordPool
from parley_server.accounts.service import AccountService
from parley_server.accounts.settings import AccountSettings
from parley_server.backends.memory.accounts import MemoryAccounts
from parley_server.testing.manual_clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def settings() -> AccountSettings:
    return AccountSettings(password_passes=1, password_memory_kib=8, password_lanes=1, device_limit=3)


@pytest.fixture
def accounts() -> MemoryAccounts:
    return MemoryAccounts()


@pytest.fixture
def ring(clock: ManualClock) -> KeyRing:
    return KeyRing((SigningKey.of_seed(secrets.token_bytes(32), clock.now_ms()),))


@pytest.fixture
def issuer(ring: KeyRing) -> TokenIssuer:
    return TokenIssuer(ring, issuer="parley", audience="parley", random_bytes=secrets.token_bytes)


@pytest.fixture
def verifier(ring: KeyRing, settings: AccountSettings) -> TokenVerifier:
    return TokenVerifier(
        ring.public_keys(), issuer="parley", audience="parley", leeway_seconds=settings.clock_leeway_seconds
    )


@pytest.fixture
def authenticator(verifier: TokenVerifier, clock: ManualClock, settings: AccountSettings) -> Authenticator:
    return Authenticator(verifier, clock, settings)


@pytest.fixture
async def passwords(settings: AccountSettings) -> AsyncIterator[PasswordPool]:
    pool = PasswordPool(settings, secrets.token_bytes)
    yield pool
    await pool.close()


@pytest.fixture
async def service(
    accounts: MemoryAccounts,
    clock: ManualClock,
    issuer: TokenIssuer,
    passwords: PasswordPool,
    authenticator: Authenticator,
    settings: AccountSettings,
) -> AsyncIterator[AccountService]:
    service = AccountService(accounts, clock, secrets.token_bytes, issuer, passwords, authenticator, settings)
    yield service
    await service.close()
