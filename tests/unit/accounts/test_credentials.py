"""Passwords that change: who stays logged in, whatever is repeated, raced or lost."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from parley_runtime.refusal import Reason, Refusal
from parley_server.accounts.service import AccountService
from parley_server.backends.memory.accounts import MemoryAccounts
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from parley_runtime.tokens import TokenIssuer
    from parley_server.accounts.authenticator import Authenticator
    from parley_server.accounts.devices import LoggedIn
    from parley_server.accounts.passwords import PasswordPool
    from parley_server.accounts.settings import AccountSettings
    from parley_server.ports.accounts import DeviceAdded, DeviceRow
    from parley_server.testing.manual_clock import ManualClock

OLD, NEW = "correct horse", "battery staple"


async def sign_up(service: AccountService, username: str = "bob") -> LoggedIn:
    return await service.sign_up(username, OLD, "", "phone", str(uuid.uuid4()))


async def log_in(service: AccountService, password: str, username: str = "bob") -> LoggedIn:
    return await service.log_in(username, password, "laptop", str(uuid.uuid4()))


async def reason_of(call: Awaitable[object]) -> Reason | None:
    try:
        await call
    except Refusal as refusal:
        return refusal.reason
    return None


def works(authenticator: Authenticator, logged_in: LoggedIn) -> bool:
    try:
        authenticator.authenticate({"authorization": f"Bearer {logged_in.tokens.access_token}"})
    except Refusal as refusal:
        assert refusal.reason is Reason.DEVICE_REVOKED
        return False
    return True


def change(
    service: AccountService, device: LoggedIn, old: str = OLD, new: str = NEW, *, keep: bool = False
) -> Awaitable[None]:
    return service.credentials.change(
        device.user.user_id, device.device_id, old, new, keep_other_devices=keep
    )


@pytest.mark.parametrize("keep", [False, True])
async def test_a_new_password_and_what_becomes_of_the_devices(
    service: AccountService, authenticator: Authenticator, keep: bool
) -> None:
    """Planted: the calling device logged out; the others kept; the authenticator not told."""
    phone, carol = await sign_up(service), await sign_up(service, "carol")
    laptop = await log_in(service, OLD)
    await change(service, phone, keep=keep)
    assert works(authenticator, phone) and works(authenticator, carol)
    assert works(authenticator, laptop) is keep
    assert await service.devices.refresh(phone.tokens.refresh_token)
    refreshed = await reason_of(service.devices.refresh(laptop.tokens.refresh_token))
    assert refreshed is (None if keep else Reason.DEVICE_REVOKED)
    assert await reason_of(log_in(service, OLD)) is Reason.BAD_CREDENTIALS
    assert works(authenticator, await log_in(service, NEW))


async def test_a_wrong_password_changes_nothing(
    service: AccountService, authenticator: Authenticator, accounts: MemoryAccounts
) -> None:
    """Planted: the old password not checked."""
    phone = await sign_up(service)
    laptop = await log_in(service, OLD)
    before = await accounts.password_hash(phone.user.user_id)
    assert await reason_of(change(service, phone, old="wrong horse")) is Reason.WRONG_PASSWORD
    for old, new in ((OLD, "short"), (OLD, ""), ("", NEW), (OLD, "x" * 257), ("x" * 257, NEW)):
        assert await reason_of(change(service, phone, old=old, new=new)) is Reason.INVALID_FIELD
    assert await accounts.password_hash(phone.user.user_id) == before
    assert works(authenticator, laptop)


async def test_a_repeat_answers_the_same(service: AccountService, authenticator: Authenticator) -> None:
    """Planted: WRONG_PASSWORD for the repeat."""
    phone = await sign_up(service)
    await change(service, phone)
    await change(service, phone)
    assert works(authenticator, phone)
    assert (
        await reason_of(change(service, phone, old="wrong horse", new="another new")) is Reason.WRONG_PASSWORD
    )
    assert works(authenticator, await log_in(service, NEW))


async def test_of_two_changes_at_once_one_stands_and_the_other_is_told(service: AccountService) -> None:
    """Planted: the former hash not compared; found by two that succeed."""
    phone = await sign_up(service)
    reasons = await asyncio.gather(
        *(reason_of(change(service, phone, new=f"new password {number}")) for number in range(6))
    )
    assert sorted(reasons, key=str) == [None] + [Reason.WRONG_PASSWORD] * 5
    assert await log_in(service, f"new password {reasons.index(None)}")


async def test_a_log_in_that_checked_the_old_password_is_no_log_in(
    clock: ManualClock,
    issuer: TokenIssuer,
    passwords: PasswordPool,
    authenticator: Authenticator,
    settings: AccountSettings,
) -> None:
    """The password changes between the check and the new device. Planted: the hash not handed to the store;
    found by a thief's device that survives the change.
    """
    checked, go_on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryAccounts):
        slow = False

        async def add_device(self, device: DeviceRow, **limits: Any) -> DeviceAdded:
            if self.slow:
                checked.set()
                await go_on.wait()
            return await super().add_device(device, **limits)

    store = Slow()
    service = AccountService(store, clock, bytes, issuer, passwords, authenticator, settings)
    phone = await sign_up(service)
    store.slow = True
    thief = asyncio.create_task(reason_of(log_in(service, OLD)))
    await checked.wait()
    await change(service, phone)
    go_on.set()
    assert await thief is Reason.BAD_CREDENTIALS
    assert len(await service.devices.list_live(phone.user.user_id, before=None, limit=9)) == 1
    await service.close()


async def test_after_a_lost_answer_the_repeat_ends_the_devices_here(
    clock: ManualClock,
    issuer: TokenIssuer,
    passwords: PasswordPool,
    authenticator: Authenticator,
    settings: AccountSettings,
) -> None:
    """The store took the change, and this node was not told. Planted: only newly revoked devices returned;
    found by the laptop's running token.
    """

    class Losing(MemoryAccounts):
        losing = False

        async def set_password(self, user_id: str, password_hash: str, **more: Any) -> Any:
            answer = await super().set_password(user_id, password_hash, **more)
            if self.losing:
                self.losing = False
                raise StoreUnavailable("the answer was lost")
            return answer

    store = Losing()
    service = AccountService(store, clock, bytes, issuer, passwords, authenticator, settings)
    phone = await sign_up(service)
    laptop = await log_in(service, OLD)
    store.losing = True
    with pytest.raises(StoreUnavailable):
        await change(service, phone)
    assert works(authenticator, laptop)
    await change(service, phone)
    assert works(authenticator, phone) and not works(authenticator, laptop)
    await service.close()


async def test_an_operators_reset_logs_everybody_out(
    service: AccountService, authenticator: Authenticator
) -> None:
    """Planted: a device kept."""
    phone = await sign_up(service)
    laptop = await log_in(service, OLD)
    await service.credentials.reset(phone.user.user_id, NEW)
    assert not works(authenticator, phone) and not works(authenticator, laptop)
    assert await reason_of(log_in(service, OLD)) is Reason.BAD_CREDENTIALS
    assert works(authenticator, await log_in(service, NEW))
    assert await reason_of(service.credentials.reset(phone.user.user_id, "short")) is Reason.INVALID_FIELD
    for nobody in ("", "u" + "0" * 32, "bob", "u\x00"):
        assert await reason_of(service.credentials.reset(nobody, NEW)) is Reason.USER_NOT_FOUND
