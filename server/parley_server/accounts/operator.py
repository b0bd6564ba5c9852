"""The first operator: an account without a password, whose token lies in the data folder.

Whoever may read the data folder is an operator. The token is one device of the account, listed and
revocable as any other. It stays as it is from start to start and is renewed when less than half of its life
is left. A revoked one stays revoked: removing the file makes the next start revoke what the account has,
lift a suspension, and write a new token. So removing the file is also how the token is exchanged.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from parley_runtime.logs import get_logger
from parley_runtime.refusal import Refusal
from parley_runtime.secret_file import read_secret, write_secret
from parley_server.accounts.ids import device_id_for, user_id_for
from parley_server.accounts.names import fold
from parley_server.ports.accounts import DeviceRow, UserAdded, UserRow

if TYPE_CHECKING:
    from pathlib import Path

    from parley_runtime.clock import Clock
    from parley_runtime.tokens import RandomBytes, TokenVerifier
    from parley_server.accounts.service import AccountService
    from parley_server.accounts.settings import AccountSettings
    from parley_server.ports.accounts import Accounts

# Not a UUID, so no client's request id leads here.
OPERATOR_USER_ID = user_id_for("bootstrap operator")
OPERATOR_DEVICE_NAME = "bootstrap operator"
_NAME_ATTEMPTS = 100

log = get_logger(__name__)


async def ensure_operator(
    path: Path,
    *,
    accounts: Accounts,
    service: AccountService,
    verifier: TokenVerifier,
    clock: Clock,
    random_bytes: RandomBytes,
    settings: AccountSettings,
) -> None:
    """The operator's account exists, and `path` (mode 0600) holds its token, if need be a new one.

    For a start, before calls are served. A token that an operator revoked is left as it is; the log says
    so. Raises SecretFileError when the file is open to others, OSError when it cannot be written,
    StoreUnavailable.
    """
    await _Bootstrap(accounts, service, verifier, clock, random_bytes, settings).ensure(path)


class _Bootstrap:
    def __init__(
        self,
        accounts: Accounts,
        service: AccountService,
        verifier: TokenVerifier,
        clock: Clock,
        random_bytes: RandomBytes,
        settings: AccountSettings,
    ) -> None:
        self._accounts = accounts
        self._service = service
        self._verifier = verifier
        self._clock = clock
        self._random_bytes = random_bytes
        self._lifetime_ms = 1000 * settings.operator_token_lifetime_seconds

    async def ensure(self, path: Path) -> None:
        user = await self._account()
        kept = await asyncio.to_thread(read_secret, path)
        device = None if kept is None else await self._device_of(kept.strip())
        if device is None:
            await self._start_anew(user, path, file_was_missing=kept is None)
        elif device.revoke_time_ms is not None or user.suspend_time_ms is not None:
            log.warning(
                "operator token is revoked; remove the file and start again for a new one", path=str(path)
            )
        elif device.access_expire_time_ms - self._clock.now_ms() < self._lifetime_ms // 2:
            await self._renew(user, device, path)

    async def _account(self) -> UserRow:
        user = await self._accounts.user(OPERATOR_USER_ID)
        for number in range(1, _NAME_ATTEMPTS + 1):
            if user is not None:
                return user
            name = "operator" if number == 1 else f"operator-{number}"
            new = UserRow(
                user_id=OPERATOR_USER_ID,
                username=name,
                folded_username=fold(name),
                display_name="",
                folded_display_name="",
                about="",
                avatar_url="",
                operator=True,
                create_time_ms=self._clock.now_ms(),
            )
            if await self._accounts.add_user(new, "") is not UserAdded.USERNAME_TAKEN:
                user = await self._accounts.user(OPERATOR_USER_ID)
        raise RuntimeError(f"the names operator … operator-{_NAME_ATTEMPTS} are all taken by other users")

    async def _device_of(self, token: str) -> DeviceRow | None:
        """The operator's device behind a kept token; None when the token is of no use any more."""
        now_ms = self._clock.now_ms()
        try:
            claims = self._verifier.verify(token, now_ms)
        except Refusal:
            return None
        device = await self._accounts.device(claims.device_id)
        return None if device is None or device.user_id != OPERATOR_USER_ID else device

    async def _start_anew(self, user: UserRow, path: Path, *, file_was_missing: bool) -> None:
        # One token at a time: a copy of the former one that went astray must not live on.
        now_ms = self._clock.now_ms()
        while devices := await self._accounts.devices(user.user_id, now_ms=now_ms, before=None, limit=50):
            for device in devices:
                await self._service.devices.revoke(user.user_id, device.device_id)
        if file_was_missing and user.suspend_time_ms is not None:
            await self._service.suspend_user(user.user_id, lift=True)
        expire_time_ms = now_ms + self._lifetime_ms
        device = DeviceRow(
            device_id=device_id_for(user.user_id, self._random_bytes(16).hex()),
            user_id=user.user_id,
            device_name=OPERATOR_DEVICE_NAME,
            create_time_ms=now_ms,
            refresh_time_ms=now_ms,
            access_expire_time_ms=expire_time_ms,
            refresh_expire_time_ms=expire_time_ms,
            refresh_state=b"",
        )
        await self._service.devices.add(device)
        await self._write(user, device, path)
        log.info("operator token written", path=str(path))

    async def _renew(self, user: UserRow, device: DeviceRow, path: Path) -> None:
        now_ms = self._clock.now_ms()
        renewed = replace(
            device,
            refresh_time_ms=now_ms,
            access_expire_time_ms=now_ms + self._lifetime_ms,
            refresh_expire_time_ms=now_ms + self._lifetime_ms,
            version=device.version + 1,
        )
        # The store first: a token must never outlive what a restart would know of its device.
        if await self._accounts.renew_device(renewed):
            await self._write(user, renewed, path)
            log.info("operator token renewed", path=str(path))

    async def _write(self, user: UserRow, device: DeviceRow, path: Path) -> None:
        token = self._service.devices.access_token(user, device.device_id, device.access_expire_time_ms)
        await asyncio.to_thread(write_secret, path, token + "\n")
