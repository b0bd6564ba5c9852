"""The first operator's account and the token in the data folder."""

from __future__ import annotations

import secrets
import stat
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from parley_runtime.refusal import Reason, Refusal
from parley_runtime.secret_file import SecretFileError
from parley_runtime.tokens import AccessClaims, KeyRing, SigningKey, TokenIssuer, TokenVerifier
from parley_server.accounts.operator import OPERATOR_DEVICE_NAME, OPERATOR_USER_ID, ensure_operator
from parley_server.testing.accounts_rows import add_users

if TYPE_CHECKING:
    from pathlib import Path

    from parley_server.accounts.authenticator import Authenticator
    from parley_server.accounts.caller import Caller
    from parley_server.accounts.service import AccountService
    from parley_server.accounts.settings import AccountSettings
    from parley_server.backends.memory.accounts import MemoryAccounts
    from parley_server.testing.manual_clock import ManualClock

DAY_SECONDS = 24 * 3600
Start = Callable[[], Awaitable[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "operator.token"


@pytest.fixture
def start(
    path: Path,
    accounts: MemoryAccounts,
    service: AccountService,
    verifier: TokenVerifier,
    clock: ManualClock,
    settings: AccountSettings,
) -> Start:
    """Does what a node's start does and gives the token that is in the file then."""

    async def started() -> str:
        await ensure_operator(
            path,
            accounts=accounts,
            service=service,
            verifier=verifier,
            clock=clock,
            random_bytes=secrets.token_bytes,
            settings=settings,
        )
        return content_of(path)

    return started


def content_of(path: Path) -> str:
    return path.read_text().strip()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put(path: Path, content: str, *, mode: int = 0o600) -> None:
    path.write_text(content)
    path.chmod(mode)


def remove(path: Path) -> None:
    path.unlink()


def caller_of(authenticator: Authenticator, token: str) -> Caller:
    return authenticator.authenticate({"authorization": f"Bearer {token}"})


async def test_the_first_start_writes_an_operators_token(
    start: Start, path: Path, authenticator: Authenticator, accounts: MemoryAccounts, clock: ManualClock
) -> None:
    """Planted: the default file mode; found by the mode."""
    caller = caller_of(authenticator, await start())
    assert caller.operator
    assert caller.user_id == OPERATOR_USER_ID
    assert caller.expire_time_ms == (clock.now_ms() // 1000 + 365 * DAY_SECONDS) * 1000
    assert mode_of(path) == 0o600
    user = await accounts.user_named("operator")
    assert user is not None and user.operator and user.user_id == OPERATOR_USER_ID
    (device,) = await accounts.devices(OPERATOR_USER_ID, now_ms=clock.now_ms(), before=None, limit=5)
    assert device.device_name == OPERATOR_DEVICE_NAME


async def test_the_token_stays_and_is_renewed_in_its_second_half(
    start: Start, authenticator: Authenticator, clock: ManualClock
) -> None:
    """Planted: a new token at every start; found by the comparison. Planted: never renewed; found after 200
    days.
    """
    token = await start()
    clock.advance(180 * DAY_SECONDS)
    assert await start() == token
    clock.advance(20 * DAY_SECONDS)
    renewed = await start()
    assert renewed != token
    assert caller_of(authenticator, renewed).device_id == caller_of(authenticator, token).device_id
    clock.advance(300 * DAY_SECONDS)
    again = await start()
    assert caller_of(authenticator, again).device_id == caller_of(authenticator, renewed).device_id


async def test_an_expired_token_is_replaced(
    start: Start, authenticator: Authenticator, clock: ManualClock
) -> None:
    token = await start()
    clock.advance(400 * DAY_SECONDS)
    assert caller_of(authenticator, await start()).operator
    with pytest.raises(Refusal):
        caller_of(authenticator, token)


async def test_a_revoked_token_stays_revoked_until_the_file_is_removed(
    start: Start, path: Path, service: AccountService, authenticator: Authenticator
) -> None:
    """Planted: a revoked token replaced at once; found by the file that changed."""
    token = await start()
    await service.devices.revoke(OPERATOR_USER_ID, caller_of(authenticator, token).device_id)
    assert await start() == token
    with pytest.raises(Refusal) as caught:
        caller_of(authenticator, token)
    assert caught.value.reason is Reason.DEVICE_REVOKED
    remove(path)
    assert caller_of(authenticator, await start()).operator


async def test_removing_the_file_exchanges_the_token(
    start: Start, path: Path, authenticator: Authenticator
) -> None:
    """Planted: the former token left valid; found by its copy."""
    copy = await start()
    remove(path)
    token = await start()
    assert caller_of(authenticator, token).operator
    with pytest.raises(Refusal) as caught:
        caller_of(authenticator, copy)
    assert caught.value.reason is Reason.DEVICE_REVOKED


async def test_a_suspended_operator_comes_back_by_removing_the_file(
    start: Start, path: Path, service: AccountService, authenticator: Authenticator
) -> None:
    """Whoever holds the data folder must not be locked out. Planted: the suspension left; found."""
    token = await start()
    await service.suspend_user(OPERATOR_USER_ID, lift=False)
    assert await start() == token
    with pytest.raises(Refusal) as caught:
        caller_of(authenticator, token)
    assert caught.value.reason is Reason.ACCOUNT_SUSPENDED
    remove(path)
    assert caller_of(authenticator, await start()).operator
    with pytest.raises(Refusal):
        caller_of(authenticator, token)


@pytest.mark.parametrize("content", ["", "nonsense", "eyJhbGciOiJub25lIn0.e30."])
async def test_a_file_without_a_token_is_replaced(
    start: Start, path: Path, authenticator: Authenticator, content: str
) -> None:
    put(path, content)
    assert caller_of(authenticator, await start()).operator


async def test_a_token_of_other_keys_is_replaced(
    start: Start, path: Path, authenticator: Authenticator, clock: ManualClock
) -> None:
    """The keys were removed, or the accounts begun anew. Planted: any text kept; found by the token that
    passes not.
    """
    ring = KeyRing((SigningKey.of_seed(bytes(32), 0),))
    issuer = TokenIssuer(ring, issuer="parley", audience="parley", random_bytes=secrets.token_bytes)
    claims = AccessClaims(OPERATOR_USER_ID, "d" + "0" * 32, True, clock.now_ms() + 10**9)
    put(path, issuer.issue(claims, clock.now_ms()))
    assert caller_of(authenticator, await start()).operator


async def test_a_token_file_open_to_others_is_refused(start: Start, path: Path) -> None:
    put(path, await start(), mode=0o644)
    with pytest.raises(SecretFileError, match="chmod 600"):
        await start()


async def test_a_taken_name_gives_way(
    start: Start, authenticator: Authenticator, accounts: MemoryAccounts
) -> None:
    """Planted: the user named operator made one; found by the id."""
    await add_users(accounts, "operator", "operator-2")
    assert caller_of(authenticator, await start()).user_id == OPERATOR_USER_ID
    user = await accounts.user(OPERATOR_USER_ID)
    assert user is not None and user.username == "operator-3"
    other = await accounts.user_named("operator")
    assert other is not None and not other.operator


async def test_no_log_in_leads_to_the_operator(start: Start, service: AccountService) -> None:
    """The account has no password. Planted: an empty hash matches an empty password; found here."""
    await start()
    for password in ("12345678", "operator"):
        with pytest.raises(Refusal) as caught:
            await service.log_in("operator", password, "", "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
        assert caught.value.reason is Reason.BAD_CREDENTIALS
