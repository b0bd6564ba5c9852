"""The end of an account: what is gone at once, and what is done until it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from parley_runtime.refusal import Reason, Refusal
from parley_server.accounts.authenticator import Authenticator
from parley_server.accounts.operator import OPERATOR_USER_ID
from parley_server.accounts.service import AccountService
from parley_server.backends.memory.accounts import MemoryAccounts
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from parley_runtime.tokens import TokenIssuer, TokenVerifier
    from parley_server.accounts.devices import LoggedIn
    from parley_server.accounts.passwords import PasswordPool
    from parley_server.accounts.settings import AccountSettings
    from parley_server.ports.accounts import UserDeleted
    from parley_server.testing.manual_clock import ManualClock

PASSWORD = "correct horse"


async def sign_up(service: AccountService, username: str, request_id: str = "") -> LoggedIn:
    return await service.sign_up(username, PASSWORD, "", "phone", request_id or str(uuid.uuid4()))


async def reason_of(call: Awaitable[object]) -> Reason | None:
    try:
        await call
    except Refusal as refusal:
        return refusal.reason
    return None


def reason_for(authenticator: Authenticator, logged_in: LoggedIn) -> Reason | None:
    try:
        authenticator.authenticate({"authorization": f"Bearer {logged_in.tokens.access_token}"})
    except Refusal as refusal:
        return refusal.reason
    return None


@contextlib.asynccontextmanager
async def running(service: AccountService) -> AsyncIterator[None]:
    task = asyncio.create_task(service.deletions.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until_done(accounts: MemoryAccounts) -> None:
    async with asyncio.timeout(10):
        while await accounts.deleting_users(after="", limit=1):  # noqa: ASYNC110 - another task works on it
            await asyncio.sleep(0)


async def test_a_deleted_account_is_gone_at_once(
    service: AccountService, authenticator: Authenticator, verifier: TokenVerifier, clock: ManualClock
) -> None:
    """Planted, each found: the streams not ended; a block or a contact that stays; a restart that forgets."""
    request_id = str(uuid.uuid4())
    bob, carol = await sign_up(service, "bob", request_id), await sign_up(service, "carol")
    bob_id, carol_id = bob.user.user_id, carol.user.user_id
    await service.contacts.add(carol_id, bob_id)
    await service.blocks.block(bob_id, carol_id)
    assert await service.blocks.refusal_between(bob_id, carol_id)
    heard: list[tuple[str, str | None, Reason]] = []
    authenticator.subscribe(lambda user, device, reason: heard.append((user, device, reason)))
    assert await reason_of(service.deletions.delete(bob_id, "wrong horse")) is Reason.WRONG_PASSWORD
    assert await reason_of(service.deletions.delete(bob_id, "")) is Reason.INVALID_FIELD
    assert heard == []
    await service.deletions.delete(bob_id, PASSWORD)
    assert heard == [(bob_id, bob.device_id, Reason.DEVICE_REVOKED)]
    assert reason_for(authenticator, bob) is Reason.DEVICE_REVOKED
    assert await service.existing([bob_id, carol_id]) == {carol_id}
    assert await service.contacts.list(carol_id, after="", limit=9) == ()
    assert await service.blocks.refusal_between(bob_id, carol_id) is None
    for call in (
        service.profiles.by_id(bob_id),
        service.profiles.by_name("bob"),
        service.contacts.add(carol_id, bob_id),
        service.suspend_user(bob_id, lift=False),
        service.credentials.reset(bob_id, PASSWORD),
        service.export_of(bob_id),
    ):
        assert await reason_of(call) is Reason.USER_NOT_FOUND
    log_in = service.log_in("bob", PASSWORD, "", str(uuid.uuid4()))
    assert await reason_of(log_in) is Reason.BAD_CREDENTIALS
    refreshed = service.devices.refresh(bob.tokens.refresh_token)
    assert await reason_of(refreshed) is Reason.REFRESH_TOKEN_INVALID
    assert await reason_of(sign_up(service, "bob")) is Reason.USERNAME_TAKEN
    assert await reason_of(sign_up(service, "other", request_id)) is Reason.CLIENT_ID_REUSED
    restarted = Authenticator(verifier, clock, replace(service._settings))
    await restarted.load(service._accounts)
    assert reason_for(restarted, bob) is Reason.DEVICE_REVOKED


async def test_the_erasure_is_done_for_everybody_however_it_fails(
    service: AccountService, accounts: MemoryAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for those of a former run. Planted: the list gone through at the start only; one that fails ends
    the rest; finished although the eraser failed.
    """
    names = ["ann", "ben", "cat"]
    people = [await sign_up(service, name) for name in names]
    await service.deletions.delete(people[0].user.user_id, PASSWORD)
    calls: list[str] = []
    erased: set[str] = set()
    first, *others = sorted(person.user.user_id for person in people)

    async def erase_user(user_id: str) -> None:
        calls.append(user_id)
        # The first in the list fails once at least, and until all others had their turn.
        if user_id == first and (calls.count(first) == 1 or not set(others) <= set(calls)):
            raise StoreUnavailable("not now")
        erased.add(user_id)

    monkeypatch.setattr(service.deletions, "_retry_seconds", 0.01)
    service.on_deletion(erase_user)
    async with running(service):
        for person in people[1:]:
            await service.deletions.delete(person.user.user_id, PASSWORD)
        await until_done(accounts)
    assert erased == {first, *others}
    for name in names:
        assert (await sign_up(service, name)).user.username == name


async def test_without_an_eraser_nothing_is_finished(
    service: AccountService, accounts: MemoryAccounts
) -> None:
    """Planted: finished with no eraser there; found by the empty list."""
    bob = await sign_up(service, "bob")
    async with running(service):
        await service.deletions.delete(bob.user.user_id, PASSWORD)
        for _ in range(20):
            await asyncio.sleep(0)
    assert await accounts.deleting_users(after="", limit=9) == (bob.user.user_id,)


async def test_the_files_are_cleaned_at_once_and_then_once_an_hour(
    clock: ManualClock,
    issuer: TokenIssuer,
    passwords: PasswordPool,
    authenticator: Authenticator,
    settings: AccountSettings,
) -> None:
    """Although one deletion keeps failing. Planted: the hour begun with nothing to clean; the cleaning left
    out while a deletion fails; the hour not looked at.
    """

    class Counting(MemoryAccounts):
        finished = cleaned = 0

        async def deletion_finished(self, user_id: str) -> None:
            await super().deletion_finished(user_id)
            self.finished += 1

        async def compact(self) -> bool:
            anything, self.finished = self.finished > 0, 0
            self.cleaned += anything
            return anything

    store = Counting()
    service = AccountService(store, clock, bytes, issuer, passwords, authenticator, settings)
    people = [await sign_up(service, name) for name in ("ann", "ben", "cat", "dan")]
    ids = [person.user.user_id for person in people]

    async def erase_user(user_id: str) -> None:
        if user_id == ids[0]:
            raise StoreUnavailable("never")

    async def delete(user_id: str) -> None:
        await service.deletions.delete(user_id, PASSWORD)
        async with asyncio.timeout(10):
            while await store.deleting_users(after="", limit=9) != (ids[0],):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)

    service.on_deletion(erase_user)
    async with running(service):
        await service.deletions.delete(ids[0], PASSWORD)
        await delete(ids[1])
        assert store.cleaned == 1
        await delete(ids[2])
        assert store.cleaned == 1
        clock.advance(settings.compact_seconds)
        await delete(ids[3])
        assert store.cleaned == 2
    await service.close()


async def test_a_deletion_whose_answer_was_lost_ends_the_devices(
    clock: ManualClock,
    issuer: TokenIssuer,
    passwords: PasswordPool,
    authenticator: Authenticator,
    settings: AccountSettings,
) -> None:
    """Planted: `run` woken by an answer only; found by the token that still passes."""

    class Losing(MemoryAccounts):
        async def delete_user(self, user_id: str, **more: Any) -> UserDeleted:
            await super().delete_user(user_id, **more)
            raise StoreUnavailable("the answer was lost")

    store = Losing()
    service = AccountService(store, clock, bytes, issuer, passwords, authenticator, settings)

    async def erase_user(_user_id: str) -> None:
        assert reason_for(authenticator, bob) is Reason.DEVICE_REVOKED

    service.on_deletion(erase_user)
    bob = await sign_up(service, "bob")
    async with running(service):
        with pytest.raises(StoreUnavailable):
            await service.deletions.delete(bob.user.user_id, PASSWORD)
        await until_done(store)
    assert reason_for(authenticator, bob) is Reason.DEVICE_REVOKED
    await service.close()


async def test_the_last_operator_stays(service: AccountService, accounts: MemoryAccounts) -> None:
    """Planted: the count of operators left out."""
    ids = []
    for name in ("one", "two"):
        user = await service.create_user(name, PASSWORD, "", operator=True, request_id=str(uuid.uuid4()))
        ids.append(user.user_id)
    await service.deletions.delete(ids[0], PASSWORD)
    assert await reason_of(service.deletions.delete(ids[1], PASSWORD)) is Reason.LAST_OPERATOR
    assert await service.existing(ids) == {ids[1]}
    assert await reason_of(service.deletions.delete(OPERATOR_USER_ID, PASSWORD)) is Reason.LAST_OPERATOR


async def test_an_export_holds_what_there_is_and_no_secret(
    service: AccountService, accounts: MemoryAccounts
) -> None:
    """Planted: the device row exported whole; found by the refresh state."""
    bob, carol, dave = [await sign_up(service, name) for name in ("bob", "carol", "dave")]
    await service.contacts.add(bob.user.user_id, carol.user.user_id)
    await service.blocks.block(bob.user.user_id, dave.user.user_id)
    await service.blocks.block(carol.user.user_id, bob.user.user_id)
    data = json.loads(json.dumps(await service.export_of(bob.user.user_id)))
    assert set(data) == {"profile", "devices", "contacts", "blocks"}
    assert data["profile"]["username"] == "bob"
    assert [device["device_id"] for device in data["devices"]] == [bob.device_id]
    assert set(data["devices"][0]) == {"device_id", "device_name", "create_time_ms", "refresh_time_ms"}
    assert [row["username"] for row in data["contacts"]] == ["carol"]
    assert [row["username"] for row in data["blocks"]] == ["dave"]
    device = await accounts.device(bob.device_id)
    assert device is not None
    text = json.dumps(data)
    assert await accounts.password_hash(bob.user.user_id) not in text
    assert bob.tokens.refresh_token not in text
