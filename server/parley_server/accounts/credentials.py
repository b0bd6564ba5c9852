"""Passwords that change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal, user_not_found
from parley_server.accounts import validation
from parley_server.accounts.ids import is_user_id

if TYPE_CHECKING:
    from parley_runtime.clock import Clock
    from parley_server.accounts.authenticator import Authenticator
    from parley_server.accounts.completion import Completion
    from parley_server.accounts.passwords import PasswordPool
    from parley_server.ports.accounts import Accounts

# A second look after somebody else's change came first; a third would be no client's doing.
_ATTEMPTS = 2


class Credentials:
    """The passwords of all users. Raises StoreUnavailable where the store cannot answer.

    The new password and the end of the devices are one change of the store: a crash leaves both or neither.
    """

    def __init__(
        self,
        accounts: Accounts,
        clock: Clock,
        passwords: PasswordPool,
        authenticator: Authenticator,
        completion: Completion,
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._passwords = passwords
        self._authenticator = authenticator
        self._completion = completion

    async def change(
        self, user_id: str, device_id: str, old_password: str, new_password: str, *, keep_other_devices: bool
    ) -> None:
        """The user's password is the new one, durably, and all devices but `device_id` are logged out,
        unless they are to be kept. A repeat, told by the new password being the account's already, ends the
        same way.

        Raises Refusal: INVALID_FIELD, WRONG_PASSWORD, SERVER_BUSY.
        """
        validation.check_password_change(old_password, new_password)
        for _ in range(_ATTEMPTS):
            former_hash = await self._accounts.password_hash(user_id)
            if await self._passwords.verify(old_password, former_hash):
                new_hash = await self._passwords.hash(new_password)
            elif await self._passwords.verify(new_password, former_hash):
                # A repeat. The first answer may have been lost to this node too, so devices are ended again.
                new_hash = former_hash
            else:
                break
            changed = self._set(
                user_id, new_hash, former_hash=former_hash, revoke=not keep_other_devices, kept=device_id
            )
            if await self._completion.run(changed):
                return
        raise wrong_password()

    async def reset(self, user_id: str, new_password: str) -> None:
        """The user's password is the new one, durably, and all his devices are logged out. The caller is
        known to be an operator.

        Raises Refusal: INVALID_FIELD, USER_NOT_FOUND, SERVER_BUSY.
        """
        validation.check_new_password(new_password)
        if not is_user_id(user_id) or await self._accounts.user(user_id) is None:
            raise user_not_found()
        new_hash = await self._passwords.hash(new_password)
        changed = self._set(user_id, new_hash, former_hash=None, revoke=True, kept="")
        if not await self._completion.run(changed):
            raise user_not_found()

    async def proven_hash(self, user_id: str, password: str) -> str:
        """The hash that the password was found to belong to. Raises Refusal: INVALID_FIELD, WRONG_PASSWORD,
        SERVER_BUSY.
        """
        validation.check_given_password(password)
        password_hash = await self._accounts.password_hash(user_id)
        if not await self._passwords.verify(password, password_hash):
            raise wrong_password()
        return password_hash

    async def _set(
        self, user_id: str, new_hash: str, *, former_hash: str | None, revoke: bool, kept: str
    ) -> bool:
        revoked = await self._accounts.set_password(
            user_id,
            new_hash,
            former_hash=former_hash,
            revoke=revoke,
            keep_device_id=kept,
            now_ms=self._clock.now_ms(),
        )
        if revoked is None:
            return False
        for device in revoked:
            self._authenticator.device_revoked(device)
        return True


def wrong_password() -> Refusal:
    """The answer to a logged-in user who gives a password that is not the account's."""
    return Refusal(Reason.WRONG_PASSWORD, "This is not your password. Type it again.")
