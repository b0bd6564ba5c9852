"""Who may call: the token, and what became of its device and its user since."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parley_runtime.refusal import Reason, Refusal
from parley_runtime.tokens import AccessClaims, TokenIssuer, TokenVerifier
from parley_server.accounts.authenticator import Authenticator
from parley_server.accounts.caller import Caller
from parley_server.testing.accounts_rows import add_device, add_users, device_row, user_row

if TYPE_CHECKING:
    from parley_server.accounts.settings import AccountSettings
    from parley_server.backends.memory.accounts import MemoryAccounts
    from parley_server.ports.accounts import DeviceRow
    from parley_server.testing.manual_clock import ManualClock


def metadata_for(
    issuer: TokenIssuer,
    clock: ManualClock,
    *,
    user_id: str = "u-bob",
    device_id: str = "d1",
    seconds: int = 900,
    operator: bool = False,
) -> dict[str, str]:
    now_ms = clock.now_ms()
    claims = AccessClaims(user_id, device_id, operator, now_ms + 1000 * seconds)
    return {"authorization": f"Bearer {issuer.issue(claims, now_ms)}"}


def reason_of(authenticator: Authenticator, metadata: dict[str, str]) -> Reason | None:
    try:
        authenticator.authenticate(metadata)
    except Refusal as refusal:
        return refusal.reason
    return None


def device_at(clock: ManualClock, device_id: str, user_id: str = "u-bob") -> DeviceRow:
    now_ms = clock.now_ms()
    return replace(device_row(device_id, user_id, refresh_time_ms=now_ms), revoke_time_ms=now_ms)


def test_a_token_names_its_caller(
    authenticator: Authenticator, issuer: TokenIssuer, clock: ManualClock
) -> None:
    expected = Caller("u-bob", "d1", True, clock.now_ms() + 900_000)
    metadata = metadata_for(issuer, clock, operator=True)
    for scheme in ("Bearer ", "bearer ", "BEARER  ", " Bearer "):
        token = metadata["authorization"].removeprefix("Bearer ")
        assert authenticator.authenticate({"authorization": scheme + token}) == expected


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer ", "Basic Ym9iOmJvYg==", "eyJhbGciOiJub25lIn0.e30."]
)
def test_no_token_is_told_from_a_wrong_one(authenticator: Authenticator, value: str | None) -> None:
    metadata = {} if value is None else {"authorization": value}
    assert reason_of(authenticator, metadata) is Reason.TOKEN_MISSING
    assert reason_of(authenticator, {"authorization": "Bearer x"}) is Reason.TOKEN_INVALID
    assert reason_of(authenticator, {"authorization": "Bearer " + "x" * 100_000}) is Reason.TOKEN_INVALID
    assert reason_of(authenticator, {"authorization": "Bearer \udce9"}) is Reason.TOKEN_INVALID


def test_a_remembered_token_expires_all_the_same(
    authenticator: Authenticator, issuer: TokenIssuer, clock: ManualClock
) -> None:
    """Planted: the cache answers without looking at the time; found after the expiry."""
    metadata = metadata_for(issuer, clock)
    assert reason_of(authenticator, metadata) is None
    clock.advance(904)
    assert reason_of(authenticator, metadata) is None
    clock.advance(1)
    for _ in range(2):
        assert reason_of(authenticator, metadata) is Reason.TOKEN_EXPIRED


def test_a_signature_is_checked_once_and_memory_is_bounded(
    issuer: TokenIssuer, verifier: TokenVerifier, clock: ManualClock, settings: AccountSettings
) -> None:
    """Planted: no bound; found by the size. Planted: the oldest use kept; found by the token used in
    between.
    """

    class Counting(TokenVerifier):
        calls = 0

        def verify(self, token: str, now_ms: int) -> AccessClaims:
            self.calls += 1
            return verifier.verify(token, now_ms)

    counting = Counting({}, issuer="parley", audience="parley", leeway_seconds=5)
    authenticator = Authenticator(counting, clock, replace(settings, token_cache_size=3))
    often = metadata_for(issuer, clock, device_id="often")
    for number in range(10):
        assert reason_of(authenticator, often) is None
        assert reason_of(authenticator, metadata_for(issuer, clock, device_id=f"d{number}")) is None
    assert counting.calls == 11
    assert len(authenticator._verified) == 3
    # A refused token is not remembered: it would push genuine ones out.
    for number in range(10):
        assert reason_of(authenticator, {"authorization": f"Bearer {number}"}) is not Reason.TOKEN_MISSING
    assert len(authenticator._verified) <= 3


def test_a_revoked_device_is_refused_at_once(
    authenticator: Authenticator, issuer: TokenIssuer, clock: ManualClock
) -> None:
    """Planted: revocations looked up before the cache only; found by the token that was used before."""
    first, second = metadata_for(issuer, clock), metadata_for(issuer, clock, device_id="d2")
    assert reason_of(authenticator, first) is None
    authenticator.device_revoked(device_at(clock, "d1"))
    assert reason_of(authenticator, first) is Reason.DEVICE_REVOKED
    assert reason_of(authenticator, metadata_for(issuer, clock)) is Reason.DEVICE_REVOKED
    assert reason_of(authenticator, second) is None


def test_a_suspended_user_is_refused_until_restored(
    authenticator: Authenticator, issuer: TokenIssuer, clock: ManualClock
) -> None:
    bob, carol = metadata_for(issuer, clock), metadata_for(issuer, clock, user_id="u-carol", device_id="d2")
    authenticator.user_suspended(user_row("u-bob", "bob"))
    assert reason_of(authenticator, bob) is Reason.ACCOUNT_SUSPENDED
    assert reason_of(authenticator, carol) is None
    authenticator.user_restored(user_row("u-bob", "bob"))
    assert reason_of(authenticator, bob) is None


def test_subscribers_hear_of_every_revocation(authenticator: Authenticator, clock: ManualClock) -> None:
    """Planted: a subscriber that fails ends the round; found by the second one."""
    heard: list[tuple[str, str | None, Reason]] = []

    def broken(user_id: str, device_id: str | None, reason: Reason) -> None:
        raise RuntimeError("broken")

    authenticator.subscribe(broken)
    unsubscribe = authenticator.subscribe(lambda *revocation: heard.append(revocation))
    authenticator.device_revoked(device_at(clock, "d1"))
    authenticator.user_suspended(user_row("u-bob", "bob"))
    authenticator.user_restored(user_row("u-bob", "bob"))
    expected = [("u-bob", "d1", Reason.DEVICE_REVOKED), ("u-bob", None, Reason.ACCOUNT_SUSPENDED)]
    assert heard == expected
    unsubscribe()
    unsubscribe()
    authenticator.device_revoked(device_at(clock, "d2"))
    assert heard == expected


async def test_a_restart_forgets_no_revocation_that_matters(
    accounts: MemoryAccounts,
    verifier: TokenVerifier,
    issuer: TokenIssuer,
    clock: ManualClock,
    settings: AccountSettings,
) -> None:
    """Planted: only revocations of the last 15 minutes loaded; found by the long-lived token."""
    await add_users(accounts, "bob", "carol", "dave")
    year = 365 * 24 * 3600
    long_lived = replace(
        device_row("d-long", "u-bob", refresh_time_ms=clock.now_ms()),
        access_expire_time_ms=clock.now_ms() + 1000 * year,
        refresh_expire_time_ms=clock.now_ms() + 1000 * year,
    )
    for device in (
        long_lived,
        device_row("d-short", "u-bob", refresh_time_ms=clock.now_ms()),
        device_row("d-carol", "u-carol", refresh_time_ms=clock.now_ms()),
    ):
        await add_device(accounts, device, now_ms=clock.now_ms())
    long_token = metadata_for(issuer, clock, device_id="d-long", seconds=year)
    await accounts.revoke_device("u-bob", "d-long", now_ms=clock.now_ms())
    clock.advance(100 * 24 * 3600)
    short_token = metadata_for(issuer, clock, device_id="d-short")
    carols_token = metadata_for(issuer, clock, user_id="u-carol", device_id="d-carol")
    await accounts.revoke_device("u-bob", "d-short", now_ms=clock.now_ms())
    await accounts.set_suspended("u-carol", clock.now_ms())
    await accounts.set_suspended("u-dave", clock.now_ms() - 10_000_000)
    clock.advance(800)
    authenticator = Authenticator(verifier, clock, settings)
    await authenticator.load(accounts)
    assert reason_of(authenticator, long_token) is Reason.DEVICE_REVOKED
    assert reason_of(authenticator, short_token) is Reason.DEVICE_REVOKED
    assert reason_of(authenticator, carols_token) is Reason.ACCOUNT_SUSPENDED
    # Nobody of dave's can have a token that still runs, so he takes no memory.
    assert authenticator._suspended == {"u-carol"}


def test_revocations_are_forgotten_when_no_token_can_run_any_more(
    authenticator: Authenticator, issuer: TokenIssuer, clock: ManualClock
) -> None:
    """Planted: nothing ever forgotten; found by the size. Planted: forgotten too early; found by the last
    token.
    """
    for number in range(200):
        authenticator.device_revoked(device_at(clock, f"d{number}"))
        clock.advance(60)
    assert len(authenticator._revoked_until_ms) < 40
    token = metadata_for(issuer, clock, device_id="d-last")
    authenticator.device_revoked(device_at(clock, "d-last"))
    for _ in range(15):
        clock.advance(60)
        authenticator.device_revoked(device_at(clock, secrets.token_hex(4)))
        assert reason_of(authenticator, token) is Reason.DEVICE_REVOKED
