"""Accounts: opening, logging in, suspending. Its parts (`devices`, `profiles` and so on) do the rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from parley_runtime.refusal import Reason, Refusal, user_not_found
from parley_server.accounts import validation
from parley_server.accounts.authenticator import account_suspended
from parley_server.accounts.blocks import Blocks
from parley_server.accounts.completion import Completion
from parley_server.accounts.contacts import Contacts
from parley_server.accounts.credentials import Credentials
from parley_server.accounts.deletions import Deletions
from parley_server.accounts.devices import Devices, LoggedIn, bad_credentials
from parley_server.accounts.export import account_data
from parley_server.accounts.ids import is_user_id, user_id_for
from parley_server.accounts.names import fold, normal_username, username_fault
from parley_server.accounts.profiles import Profiles
from parley_server.ports.accounts import UserAdded, UserRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_runtime.clock import Clock
    from parley_runtime.tokens import RandomBytes, TokenIssuer
    from parley_server.accounts.authenticator import Authenticator
    from parley_server.accounts.deletions import EraseUser
    from parley_server.accounts.passwords import PasswordPool
    from parley_server.accounts.settings import AccountSettings
    from parley_server.ports.accounts import Accounts


class AccountService:
    """What servicers ask of accounts. Every method raises Refusal as documented in the contract, and
    StoreUnavailable.

    The accounts store and the password pool stay the caller's to close, after `close`.
    """

    def __init__(
        self,
        accounts: Accounts,
        clock: Clock,
        random_bytes: RandomBytes,
        issuer: TokenIssuer,
        passwords: PasswordPool,
        authenticator: Authenticator,
        settings: AccountSettings,
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._passwords = passwords
        self._authenticator = authenticator
        self._settings = settings
        self._issuer = issuer
        self._completion = Completion()
        # The store and the authenticator must see suspensions in the same order.
        self._suspending = asyncio.Lock()
        self.devices = Devices(
            accounts, clock, random_bytes, issuer, authenticator, self._completion, settings
        )
        self.profiles = Profiles(accounts)
        self.contacts = Contacts(accounts, clock, settings)
        self.blocks = Blocks(accounts, clock, self._completion, settings)
        self.credentials = Credentials(accounts, clock, passwords, authenticator, self._completion)
        self.deletions = Deletions(
            accounts, clock, self.credentials, authenticator, self.blocks, self._completion, settings
        )

    async def close(self) -> None:
        """Finish what was begun."""
        await self._completion.close()

    async def sign_up(
        self, username: str, password: str, display_name: str, device_name: str, request_id: str
    ) -> LoggedIn:
        """Open an account and log its first device in. A repeat with the same request id and password logs
        in again.

        Raises Refusal: INVALID_FIELD, SIGN_UP_CLOSED, USERNAME_TAKEN, CLIENT_ID_REUSED, SERVER_BUSY, and as
        `log_in`.
        """
        if not self._settings.sign_up_open:
            raise Refusal(
                Reason.SIGN_UP_CLOSED,
                "This server does not let people sign up. Ask its operator for an account.",
            )
        validation.check_sign_up(username, password, display_name, device_name, request_id)
        user, password_hash = await self._open_account(
            username, password, display_name, request_id, operator=False
        )
        if user.suspend_time_ms is not None:
            raise account_suspended()
        return await self.devices.log_in(user, device_name, request_id, password_hash=password_hash)

    async def log_in(self, username: str, password: str, device_name: str, request_id: str) -> LoggedIn:
        """Log a device in. A repeat with the same request id yields the same device.

        Raises Refusal: INVALID_FIELD, BAD_CREDENTIALS, ACCOUNT_SUSPENDED, DEVICE_REVOKED, SERVER_BUSY.
        """
        validation.check_log_in(username, password, device_name, request_id)
        # The same steps for a name that nobody has, so that the time tells nothing.
        folded = fold(username) if username_fault(username) is None else ""
        user = await self._accounts.user_named(folded)
        password_hash = await self._accounts.password_hash("" if user is None else user.user_id)
        right = await self._passwords.verify(password, password_hash)
        if user is None or not right:
            raise bad_credentials()
        if user.suspend_time_ms is not None:
            raise account_suspended()
        return await self.devices.log_in(user, device_name, request_id, password_hash=password_hash)

    async def create_user(
        self, username: str, password: str, display_name: str, *, operator: bool, request_id: str
    ) -> UserRow:
        """Open an account on somebody's behalf. A repeat with the same request id returns the same account.

        Raises Refusal: INVALID_FIELD, USERNAME_TAKEN, CLIENT_ID_REUSED, SERVER_BUSY. The caller is known to
        be an operator.
        """
        validation.check_new_account(username, password, display_name, request_id)
        user, _ = await self._open_account(username, password, display_name, request_id, operator=operator)
        return user

    async def suspend_user(self, user_id: str, *, lift: bool) -> None:
        """Suspend the account, or lift the suspension. Durable, and in force on this node, when it returns.

        Raises Refusal USER_NOT_FOUND. The caller is known to be an operator.
        """
        if not is_user_id(user_id) or not await self._completion.run(self._suspend(user_id, lift=lift)):
            raise user_not_found()

    async def existing(self, user_ids: Sequence[str]) -> set[str]:
        """Those of the users that exist, suspended ones included, deleted ones not. Any number of ids."""
        return await self.profiles.existing(user_ids)

    async def export_of(self, user_id: str) -> dict[str, Any]:
        """What the accounts hold about the user, as `export.account_data` describes it. Raises Refusal
        USER_NOT_FOUND.
        """
        return await account_data(self._accounts, user_id, self._clock.now_ms())

    def on_deletion(self, erase_user: EraseUser) -> None:
        """Have `erase_user` called, by `deletions.run`, for every user who deletes the account and for those
        whose erasure was not finished before a restart. To be called before `deletions.run` begins.
        """
        self.deletions.on_deletion(erase_user)

    def jwks_json(self) -> str:
        """The public keys that verify access tokens, as a JSON Web Key Set (RFC 7517)."""
        return self._issuer.jwks_json()

    async def _open_account(
        self, username: str, password: str, display_name: str, request_id: str, *, operator: bool
    ) -> tuple[UserRow, str]:
        """The account, opened or found, and the hash that the password belongs to."""
        user_id, folded = user_id_for(request_id), fold(username)
        known = await self._accounts.user(user_id)
        if known is None:
            # Asked before hashing, so that a taken name costs nothing; the store decides all the same. The
            # name may be this very call's, made by a repeat of it between the two questions.
            known = await self._accounts.user_named(folded)
            if known is not None and known.user_id != user_id:
                raise _username_taken()
        if known is None:
            user = UserRow(
                user_id=user_id,
                username=normal_username(username),
                folded_username=folded,
                display_name=display_name,
                folded_display_name=fold(display_name),
                about="",
                avatar_url="",
                operator=operator,
                create_time_ms=self._clock.now_ms(),
            )
            new_hash = await self._passwords.hash(password)
            added = await self._accounts.add_user(user, new_hash)
            if added is UserAdded.ADDED:
                return user, new_hash
            known = await self._accounts.user(user_id)
            if known is None and added is UserAdded.USER_ID_EXISTS:
                raise Refusal(
                    Reason.CLIENT_ID_REUSED,
                    "This request_id opened an account that was deleted. Make a new one for every account.",
                )
        if known is None:
            raise _username_taken()
        if (known.folded_username, known.operator) != (folded, operator):
            raise Refusal(
                Reason.CLIENT_ID_REUSED,
                "This request_id opened another account. Make a new one for every account.",
            )
        known_hash = await self._accounts.password_hash(user_id)
        if not await self._passwords.verify(password, known_hash):
            raise _username_taken()
        return known, known_hash

    async def _suspend(self, user_id: str, *, lift: bool) -> bool:
        async with self._suspending:
            suspend_time_ms = None if lift else self._clock.now_ms()
            user = await self._accounts.set_suspended(user_id, suspend_time_ms)
            if user is None:
                return False
            if lift:
                self._authenticator.user_restored(user)
            else:
                self._authenticator.user_suspended(user)
            return True


def _username_taken() -> Refusal:
    return Refusal(Reason.USERNAME_TAKEN, "This user name is taken. Choose another one, or log in.")
