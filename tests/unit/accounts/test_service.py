"""Opening accounts, logging in, suspending."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parley_runtime.refusal import Reason, Refusal
from parley_server.accounts.devices import LoggedIn, TokenPair
from parley_server.accounts.ids import is_device_id, is_user_id, user_id_for
from parley_server.accounts.passwords import PasswordPool
from parley_server.accounts.service import AccountService
from parley_server.accounts.settings import AccountSettings
from parley_server.backends.memory.accounts import MemoryAccounts
from parley_server.ports.accounts import UserAdded, UserRow

if TYPE_CHECKING:
    from parley_runtime.tokens import TokenIssuer
    from parley_server.accounts.authenticator import Authenticator
    from parley_server.testing.manual_clock import ManualClock

PASSWORD = "correct horse"


def request_id() -> str:
    return str(uuid.uuid4())


async def signed_up(service: AccountService, username: str = "bob") -> LoggedIn:
    return await service.sign_up(username, PASSWORD, "", "phone", request_id())


def caller_of(authenticator: Authenticator, logged_in: LoggedIn) -> tuple[str, str]:
    caller = authenticator.authenticate({"authorization": f"Bearer {logged_in.tokens.access_token}"})
    return caller.user_id, caller.device_id


async def test_a_sign_up_opens_an_account_and_logs_in(
    service: AccountService, authenticator: Authenticator, accounts: MemoryAccounts, clock: ManualClock
) -> None:
    logged_in = await service.sign_up("Ｂob", PASSWORD, "Bob B.", "phone", request_id())
    user = logged_in.user
    assert (user.username, user.display_name, user.operator) == ("Bob", "Bob B.", False)
    assert is_user_id(user.user_id) and is_device_id(logged_in.device_id)
    assert caller_of(authenticator, logged_in) == (user.user_id, logged_in.device_id)
    assert logged_in.tokens.access_expire_time_ms == clock.now_ms() + 900_000
    assert logged_in.tokens.refresh_expire_time_ms == clock.now_ms() + 30 * 24 * 3600 * 1000
    assert await accounts.user(user.user_id) == user
    assert (await accounts.password_hash(user.user_id)).startswith("$argon2id$")


async def test_a_repeated_sign_up_is_the_same_account_and_device(
    service: AccountService, authenticator: Authenticator
) -> None:
    """Planted: ids drawn at random; found by a USERNAME_TAKEN. Both replies' tokens must work: either may
    be lost.
    """
    request = request_id()
    first = await service.sign_up("bob", PASSWORD, "", "phone", request)
    again = await service.sign_up("BOB", PASSWORD, "", "phone", request)
    assert (again.user, again.device_id) == (first.user, first.device_id)
    assert caller_of(authenticator, first) == caller_of(authenticator, again)
    assert len(await service.devices.list_live(first.user.user_id, before=None, limit=10)) == 1


@pytest.mark.parametrize("used", [0, 1])
async def test_either_reply_of_a_repeated_log_in_stays_logged_in(
    service: AccountService, clock: ManualClock, used: int
) -> None:
    """Planted: the second log-in replaces the refresh token of the first; found with the first reply."""
    await signed_up(service)
    request = request_id()
    replies = [await service.log_in("bob", PASSWORD, "laptop", request) for _ in range(2)]
    assert replies[0].device_id == replies[1].device_id
    clock.advance(3600)
    assert await service.devices.refresh(replies[used].tokens.refresh_token)


async def test_sign_ups_of_one_request_at_once_are_one_account(service: AccountService) -> None:
    """Planted: a user id that exists taken for a taken name; found by a refusal."""
    request = request_id()
    replies = await asyncio.gather(
        *(service.sign_up("bob", PASSWORD, "", "phone", request) for _ in range(20))
    )
    assert len({(reply.user.user_id, reply.device_id) for reply in replies}) == 1


async def test_of_sign_ups_of_one_name_at_once_one_succeeds(service: AccountService) -> None:
    outcomes = await asyncio.gather(
        *(signed_up(service, name) for name in ("bob", "BOB", "Bob", "ｂｏｂ") * 5), return_exceptions=True
    )
    winners = [outcome for outcome in outcomes if isinstance(outcome, LoggedIn)]
    losers = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    assert len(winners) == 1
    assert [refusal.reason for refusal in losers] == [Reason.USERNAME_TAKEN] * 19


async def test_a_request_id_is_for_one_account(service: AccountService) -> None:
    """Planted: the name not compared; found by an account that is not the one asked for."""
    request = request_id()
    await service.sign_up("bob", PASSWORD, "", "", request)
    with pytest.raises(Refusal) as caught:
        await service.sign_up("bob", "other password", "", "", request)
    assert caught.value.reason is Reason.USERNAME_TAKEN
    with pytest.raises(Refusal) as caught:
        await service.sign_up("carol", PASSWORD, "", "", request)
    assert caught.value.reason is Reason.CLIENT_ID_REUSED
    with pytest.raises(Refusal) as caught:
        await service.create_user("bob", PASSWORD, "", operator=True, request_id=request)
    assert caught.value.reason is Reason.CLIENT_ID_REUSED


async def test_where_sign_up_is_closed_operators_open_accounts(
    accounts: MemoryAccounts,
    clock: ManualClock,
    issuer: TokenIssuer,
    passwords: PasswordPool,
    authenticator: Authenticator,
    settings: AccountSettings,
) -> None:
    """Planted: the setting looked at in `_open_account`; found by CreateUser."""
    closed = replace(settings, sign_up_open=False)
    service = AccountService(accounts, clock, bytes, issuer, passwords, authenticator, closed)
    request = request_id()
    with pytest.raises(Refusal) as caught:
        await service.sign_up("bob", PASSWORD, "", "", request)
    assert caught.value.reason is Reason.SIGN_UP_CLOSED
    user = await service.create_user("bob", PASSWORD, "Bob", operator=True, request_id=request)
    assert user.operator
    assert await service.create_user("bob", PASSWORD, "Bob", operator=True, request_id=request) == user
    logged_in = await service.log_in("bob", PASSWORD, "", request_id())
    assert authenticator.authenticate({"authorization": f"Bearer {logged_in.tokens.access_token}"}).operator
    await service.close()


async def test_log_in_does_not_say_which_half_was_wrong(service: AccountService) -> None:
    """Planted: USER_NOT_FOUND for an unknown name; found by comparing the refusals whole."""
    await signed_up(service)
    refusals: list[Refusal] = []
    for username, password in (
        ("bob", "wrong horse"),
        ("nobody", PASSWORD),
        ("not a name!", PASSWORD),
        ("x" * 5000, PASSWORD),
        ("bob\x00", PASSWORD),
    ):
        with pytest.raises(Refusal) as caught:
            await service.log_in(username, password, "", request_id())
        refusals.append(caught.value)
    assert refusals[0].reason is Reason.BAD_CREDENTIALS
    assert all(refusal == refusals[0] for refusal in refusals)


async def test_an_unknown_name_costs_a_hash_too(
    accounts: MemoryAccounts,
    clock: ManualClock,
    issuer: TokenIssuer,
    authenticator: Authenticator,
    passwords: PasswordPool,
    settings: AccountSettings,
) -> None:
    """Planted: the check skipped for a name that nobody has; found by the count."""

    class Counting(PasswordPool):
        checks = 0

        async def verify(self, password: str, password_hash: str) -> bool:
            self.checks += 1
            return await super().verify(password, password_hash)

    counting = Counting(settings, lambda count: bytes(count))
    service = AccountService(accounts, clock, bytes, issuer, counting, authenticator, settings)
    try:
        for name in ("nobody", "not a name!"):
            with pytest.raises(Refusal):
                await service.log_in(name, PASSWORD, "", request_id())
        assert counting.checks == 2
    finally:
        await service.close()
        await counting.close()


async def test_an_account_without_a_password_has_no_log_in(
    service: AccountService, accounts: MemoryAccounts
) -> None:
    row = UserRow(user_id_for("x"), "op", "op", "", "", "", "", operator=True, create_time_ms=0)
    assert await accounts.add_user(row, "") is UserAdded.ADDED
    for password in ("", "12345678", "$argon2id$"):
        with pytest.raises(Refusal) as caught:
            await service.log_in("op", password, "", request_id())
        assert caught.value.reason in (Reason.BAD_CREDENTIALS, Reason.INVALID_FIELD)


async def test_suspension_ends_calls_log_ins_and_renewals_until_lifted(
    service: AccountService, authenticator: Authenticator, accounts: MemoryAccounts
) -> None:
    """Planted, each found: log-in, renewal or running tokens not refused."""
    request = request_id()
    logged_in = await service.sign_up("bob", PASSWORD, "", "phone", request)
    user_id = logged_in.user.user_id
    heard: list[tuple[str, str | None]] = []
    authenticator.subscribe(lambda user, device, _reason: heard.append((user, device)))
    await service.suspend_user(user_id, lift=False)
    assert heard == [(user_id, None)]
    for call in (
        service.log_in("bob", PASSWORD, "", request_id()),
        service.sign_up("bob", PASSWORD, "", "phone", request),
        service.devices.refresh(logged_in.tokens.refresh_token),
    ):
        with pytest.raises(Refusal) as caught:
            await call
        assert caught.value.reason is Reason.ACCOUNT_SUSPENDED
    with pytest.raises(Refusal) as caught:
        await service.log_in("bob", "wrong horse", "", request_id())
    assert caught.value.reason is Reason.BAD_CREDENTIALS
    with pytest.raises(Refusal) as caught:
        caller_of(authenticator, logged_in)
    assert caught.value.reason is Reason.ACCOUNT_SUSPENDED
    assert await service.existing([user_id]) == {user_id}
    await service.suspend_user(user_id, lift=False)
    await service.suspend_user(user_id, lift=True)
    await service.suspend_user(user_id, lift=True)
    assert caller_of(authenticator, logged_in) == (user_id, logged_in.device_id)
    assert await service.devices.refresh(logged_in.tokens.refresh_token)


@pytest.mark.parametrize("user_id", ["", "me", "bob", "u" + "0" * 32, "u\x00", "x" * 10_000])
async def test_suspending_nobody_is_not_found(service: AccountService, user_id: str) -> None:
    with pytest.raises(Refusal) as caught:
        await service.suspend_user(user_id, lift=False)
    assert caught.value.reason is Reason.USER_NOT_FOUND


async def test_a_caller_that_goes_away_does_not_keep_a_suspension_from_this_node(
    clock: ManualClock,
    issuer: TokenIssuer,
    passwords: PasswordPool,
    authenticator: Authenticator,
    settings: AccountSettings,
) -> None:
    """Planted: the work awaited without a task of its own; found by the token that still passes."""
    committed, answered = asyncio.Event(), asyncio.Event()

    class Slow(MemoryAccounts):
        async def set_suspended(self, user_id: str, suspend_time_ms: int | None) -> UserRow | None:
            user = await super().set_suspended(user_id, suspend_time_ms)
            committed.set()
            await answered.wait()
            return user

    service = AccountService(Slow(), clock, bytes, issuer, passwords, authenticator, settings)
    logged_in = await signed_up(service)
    call = asyncio.create_task(service.suspend_user(logged_in.user.user_id, lift=False))
    await committed.wait()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    answered.set()
    await service.close()
    with pytest.raises(Refusal) as caught:
        caller_of(authenticator, logged_in)
    assert caught.value.reason is Reason.ACCOUNT_SUSPENDED


async def test_profiles_are_found_by_id_by_name_and_by_prefix(service: AccountService) -> None:
    bob, carol = await signed_up(service, "Bob"), await signed_up(service, "Carol")
    ids = [carol.user.user_id, "u" + "0" * 32, "nonsense\x00", bob.user.user_id, carol.user.user_id]
    assert await service.profiles.batch(ids) == (carol.user, bob.user)
    assert await service.profiles.by_name("ｂＯb") == bob.user
    assert await service.profiles.by_id(bob.user.user_id) == bob.user
    for name in ("nobody", "no name!", "", "bob\x00"):
        with pytest.raises(Refusal) as caught:
            await service.profiles.by_name(name)
        assert caught.value.reason is Reason.USER_NOT_FOUND
    changed = await service.profiles.update(
        bob.user.user_id, ["display_name", "about"], display_name="ÇA va", about="hi", avatar_url="ignored"
    )
    assert (changed.display_name, changed.about, changed.avatar_url) == ("ÇA va", "hi", "")
    assert await service.profiles.search("ça", seeker_id="", after="", limit=10) == (changed,)
    assert await service.profiles.search("\x00", seeker_id="", after="", limit=10) == ()
    for after in ("\x00", "BOB"):
        with pytest.raises(Refusal) as caught:
            await service.profiles.search("b", seeker_id="", after=after, limit=10)
        assert caught.value.reason is Reason.INVALID_FIELD
    with pytest.raises(Refusal) as caught:
        await service.profiles.update("u" + "0" * 32, ["about"], display_name="", about="", avatar_url="")
    assert caught.value.reason is Reason.USER_NOT_FOUND


def test_secrets_do_not_show_in_text() -> None:
    """Planted: a plain dataclass; found by the token."""
    shown = repr(TokenPair("eyJsecret", 1, "prt_secret", 2))
    assert "secret" not in shown


@pytest.mark.parametrize(
    "wrong", [{"device_limit": 0}, {"access_lifetime_seconds": -1}, {"password_workers": 0}]
)
def test_settings_that_cannot_work_are_named(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AccountSettings(**wrong)  # type: ignore[arg-type]
