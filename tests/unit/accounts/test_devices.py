"""Devices: renewing, listing, revoking, and making room."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parley_runtime.refusal import Reason, Refusal

if TYPE_CHECKING:
    from parley_server.accounts.authenticator import Authenticator
    from parley_server.accounts.devices import LoggedIn, TokenPair
    from parley_server.accounts.service import AccountService
    from parley_server.backends.memory.accounts import MemoryAccounts
    from parley_server.ports.accounts import DeviceRow
    from parley_server.testing.manual_clock import ManualClock

PASSWORD = "correct horse"
DAY_SECONDS = 24 * 3600


@pytest.fixture
async def bob(service: AccountService) -> LoggedIn:
    return await service.sign_up("bob", PASSWORD, "", "phone", str(uuid.uuid4()))


async def log_in(service: AccountService, request_id: str | None = None) -> LoggedIn:
    return await service.log_in("bob", PASSWORD, "laptop", request_id or str(uuid.uuid4()))


async def refusal_of(service: AccountService, refresh_token: str) -> Reason:
    with pytest.raises(Refusal) as caught:
        await service.devices.refresh(refresh_token)
    return caught.value.reason


def passes(authenticator: Authenticator, access_token: str) -> bool:
    try:
        authenticator.authenticate({"authorization": f"Bearer {access_token}"})
    except Refusal:
        return False
    return True


async def test_a_renewal_keeps_the_device_logged_in(
    service: AccountService, authenticator: Authenticator, bob: LoggedIn, clock: ManualClock
) -> None:
    """Planted: the refresh lifetime counted from the log-in; found after 40 days."""
    tokens = bob.tokens
    for _ in range(4):
        clock.advance(10 * DAY_SECONDS)
        tokens = await service.devices.refresh(tokens.refresh_token)
        assert passes(authenticator, tokens.access_token)
    assert tokens.refresh_expire_time_ms == clock.now_ms() + 30 * DAY_SECONDS * 1000
    (device,) = await service.devices.list_live(bob.user.user_id, before=None, limit=5)
    assert device.refresh_time_ms == clock.now_ms()
    clock.advance(30 * DAY_SECONDS)
    assert await refusal_of(service, tokens.refresh_token) is Reason.REFRESH_TOKEN_INVALID
    assert await service.devices.list_live(bob.user.user_id, before=None, limit=5) == ()


async def test_renewals_at_once_all_answer_the_same_refresh_token(
    service: AccountService,
    accounts: MemoryAccounts,
    authenticator: Authenticator,
    bob: LoggedIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Planted: a lost compare-and-set answered with the new token all the same; found by two tokens."""
    read = accounts.device

    async def read_and_wait(device_id: str) -> DeviceRow | None:
        # All read the same version before the first writes.
        device = await read(device_id)
        await asyncio.sleep(0)
        return device

    monkeypatch.setattr(accounts, "device", read_and_wait)
    pairs = await asyncio.gather(*(service.devices.refresh(bob.tokens.refresh_token) for _ in range(50)))
    assert len({pair.refresh_token for pair in pairs}) == 1
    assert all(passes(authenticator, pair.access_token) for pair in pairs)
    assert await service.devices.refresh(pairs[0].refresh_token)


async def test_a_former_token_after_its_grace_revokes_the_device(
    service: AccountService, authenticator: Authenticator, bob: LoggedIn, clock: ManualClock
) -> None:
    """Planted: the thief refused and the device left logged in; found by the running access token."""
    heard: list[tuple[str, str | None, Reason]] = []
    authenticator.subscribe(lambda *revocation: heard.append(revocation))
    second: TokenPair = await service.devices.refresh(bob.tokens.refresh_token)
    clock.advance(29)
    assert (await service.devices.refresh(bob.tokens.refresh_token)).refresh_token == second.refresh_token
    clock.advance(1)
    assert passes(authenticator, second.access_token)
    assert await refusal_of(service, bob.tokens.refresh_token) is Reason.REFRESH_TOKEN_REUSED
    assert heard == [(bob.user.user_id, bob.device_id, Reason.DEVICE_REVOKED)]
    assert not passes(authenticator, second.access_token)
    assert await refusal_of(service, second.refresh_token) is Reason.DEVICE_REVOKED
    assert await refusal_of(service, bob.tokens.refresh_token) is Reason.DEVICE_REVOKED


@pytest.mark.parametrize("spoil", ["", "x", "{}x", "prt_d{}", "Bearer {}"])
async def test_tokens_that_were_never_ours(service: AccountService, bob: LoggedIn, spoil: str) -> None:
    assert await refusal_of(service, spoil.format(bob.tokens.refresh_token)) is Reason.REFRESH_TOKEN_INVALID
    parts = bob.tokens.refresh_token.split(".")
    unknown_device = ".".join(["prt_d" + "0" * 32, *parts[1:]])
    assert await refusal_of(service, unknown_device) is Reason.REFRESH_TOKEN_INVALID
    assert await refusal_of(service, bob.tokens.access_token) is Reason.REFRESH_TOKEN_INVALID
    assert await service.devices.refresh(bob.tokens.refresh_token)


async def test_the_device_renewed_longest_ago_makes_room(
    service: AccountService, authenticator: Authenticator, bob: LoggedIn, clock: ManualClock
) -> None:
    """Planted: the store told and this node not; found by the access token that still passes."""
    clock.advance(60)
    second, third = await log_in(service), await log_in(service)
    clock.advance(60)
    renewed = await service.devices.refresh(bob.tokens.refresh_token)
    heard: list[str | None] = []
    authenticator.subscribe(lambda _user, device, _reason: heard.append(device))
    fourth = await log_in(service)
    gone = min(second, third, key=lambda logged_in: logged_in.device_id)
    assert heard == [gone.device_id]
    assert not passes(authenticator, gone.tokens.access_token)
    assert passes(authenticator, renewed.access_token)
    assert passes(authenticator, fourth.tokens.access_token)
    assert await refusal_of(service, gone.tokens.refresh_token) is Reason.DEVICE_REVOKED


async def test_only_ones_own_devices_can_be_revoked(
    service: AccountService, authenticator: Authenticator, bob: LoggedIn
) -> None:
    """Planted: the user not compared; found by carol. Repeating a revocation is fine: a reply may be lost."""
    carol = await service.sign_up("carol", PASSWORD, "", "", str(uuid.uuid4()))
    for device_id in (bob.device_id, "", "d" + "0" * 32, "d\x00", "x" * 10_000):
        with pytest.raises(Refusal) as caught:
            await service.devices.revoke(carol.user.user_id, device_id)
        assert caught.value.reason is Reason.DEVICE_NOT_FOUND
    assert passes(authenticator, bob.tokens.access_token)
    for _ in range(2):
        await service.devices.revoke(bob.user.user_id, bob.device_id)
    assert not passes(authenticator, bob.tokens.access_token)
    assert passes(authenticator, carol.tokens.access_token)


async def test_a_log_in_that_was_revoked_does_not_come_back_by_a_repeat(
    service: AccountService, bob: LoggedIn, clock: ManualClock
) -> None:
    """Planted: a repeat makes a revoked device live; found by the first refusal."""
    request_id = str(uuid.uuid4())
    laptop = await log_in(service, request_id)
    await service.devices.revoke(bob.user.user_id, laptop.device_id)
    with pytest.raises(Refusal) as caught:
        await log_in(service, request_id)
    assert caught.value.reason is Reason.DEVICE_REVOKED
    assert "new request_id" in caught.value.message
    assert (await log_in(service)).device_id != laptop.device_id


async def test_old_rows_go_but_not_while_a_token_could_use_them(
    service: AccountService, accounts: MemoryAccounts, bob: LoggedIn, clock: ManualClock
) -> None:
    """Planted: nothing forgotten; found after 31 days. Planted: forgotten at once; found before them."""
    await service.devices.revoke(bob.user.user_id, bob.device_id)
    await log_in(service)
    assert await accounts.device(bob.device_id) is not None
    clock.advance(31 * DAY_SECONDS)
    await log_in(service)
    assert await accounts.device(bob.device_id) is None


async def test_devices_are_listed_from_any_honest_place(service: AccountService, bob: LoggedIn) -> None:
    """Page tokens are text from outside. Planted: not checked; found by the number beyond 64 bits."""
    user_id = bob.user.user_id
    for before in ((2**70, bob.device_id), (0, "x\x00")):
        with pytest.raises(Refusal) as caught:
            await service.devices.list_live(user_id, before=before, limit=5)
        assert caught.value.reason is Reason.INVALID_FIELD
    assert await service.devices.list_live(user_id, before=(0, bob.device_id), limit=5) == ()


async def test_a_renewal_that_always_loses_ends(
    service: AccountService, accounts: MemoryAccounts, bob: LoggedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: an endless loop; found by the number of attempts."""
    attempts = 0

    async def never(device: DeviceRow) -> bool:
        nonlocal attempts
        attempts += 1
        assert attempts < 100
        return False

    monkeypatch.setattr(accounts, "renew_device", never)
    assert await refusal_of(service, bob.tokens.refresh_token) is Reason.SERVER_BUSY


async def test_a_user_that_is_gone_renews_nothing(
    service: AccountService, accounts: MemoryAccounts, bob: LoggedIn
) -> None:
    """An accounts file from a backup may know a device and not its user."""
    accounts._users.clear()
    assert await refusal_of(service, bob.tokens.refresh_token) is Reason.REFRESH_TOKEN_INVALID


async def test_a_device_without_refresh_tokens_has_none(
    service: AccountService, accounts: MemoryAccounts, bob: LoggedIn
) -> None:
    """The operator's device is one. Planted: an empty state taken for any token's; found here."""
    device = await accounts.device(bob.device_id)
    assert device is not None
    accounts._devices[bob.device_id] = replace(device, refresh_state=b"")
    assert await refusal_of(service, bob.tokens.refresh_token) is Reason.REFRESH_TOKEN_INVALID
