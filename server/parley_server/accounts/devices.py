"""Devices: logging them in, renewing their tokens, logging them out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal, invalid_field
from parley_runtime.tokens import AccessClaims
from parley_server.accounts import refresh_tokens
from parley_server.accounts.authenticator import account_suspended, device_revoked
from parley_server.accounts.ids import device_id_for, is_device_id
from parley_server.ports.accounts import DeviceRow, UserRow

if TYPE_CHECKING:
    from parley_runtime.clock import Clock
    from parley_runtime.tokens import RandomBytes, TokenIssuer
    from parley_server.accounts.authenticator import Authenticator
    from parley_server.accounts.completion import Completion
    from parley_server.accounts.settings import AccountSettings
    from parley_server.ports.accounts import Accounts, DeviceAdded

# Each lost attempt is another renewal of the same device that won; so many at once are no client's doing.
_RENEWAL_ATTEMPTS = 16
_LARGEST_MS = 2**53


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a device needs to call and to stay logged in. Times in milliseconds since 1970."""

    access_token: str = field(repr=False)
    access_expire_time_ms: int
    refresh_token: str = field(repr=False)
    refresh_expire_time_ms: int


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A user's device and its tokens."""

    user: UserRow
    device_id: str
    tokens: TokenPair


class Devices:
    """The devices of all users. Raises StoreUnavailable where the store cannot answer."""

    def __init__(
        self,
        accounts: Accounts,
        clock: Clock,
        random_bytes: RandomBytes,
        issuer: TokenIssuer,
        authenticator: Authenticator,
        completion: Completion,
        settings: AccountSettings,
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._random_bytes = random_bytes
        self._issuer = issuer
        self._authenticator = authenticator
        self._completion = completion
        self._settings = settings

    async def log_in(
        self, user: UserRow, device_name: str, request_id: str, *, password_hash: str
    ) -> LoggedIn:
        """Log in the device of this request: a repeat yields the same device, and the tokens of both
        replies work.

        `password_hash` is what the password given was found to belong to. Raises Refusal BAD_CREDENTIALS
        when it is another by now or the account was deleted, DEVICE_REVOKED when the device of this very
        request was logged out since.
        """
        now_ms = self._clock.now_ms()
        device_id = device_id_for(user.user_id, request_id)
        token = refresh_tokens.RefreshToken(
            device_id,
            self._random_bytes(refresh_tokens.FAMILY_BYTES),
            self._random_bytes(refresh_tokens.SECRET_BYTES),
        )
        state = refresh_tokens.start_chain(refresh_tokens.RefreshState(), token)
        device = DeviceRow(
            device_id=device_id,
            user_id=user.user_id,
            device_name=device_name,
            create_time_ms=now_ms,
            refresh_time_ms=now_ms,
            access_expire_time_ms=self._access_expire_time_ms(now_ms),
            refresh_expire_time_ms=self._refresh_expire_time_ms(now_ms),
            refresh_state=refresh_tokens.encode_state(state),
        )
        outcome = await self.add(device, password_hash=password_hash)
        if outcome.refused:
            raise bad_credentials()
        if not outcome.added:
            device = await self._log_in_again(device_id, token)
        return LoggedIn(user, device_id, self._token_pair(user, device, token))

    async def add(self, device: DeviceRow, *, password_hash: str | None = None) -> DeviceAdded:
        """Add the device to the store and end those that must make room for it. Refused when
        `password_hash` is given and is not the user's.
        """
        return await self._completion.run(self._add(device, password_hash))

    async def refresh(self, refresh_token: str) -> TokenPair:
        """A new pair for the device. The token is used up after the grace period; a repeat within it
        answers the same.

        Raises Refusal: REFRESH_TOKEN_INVALID, REFRESH_TOKEN_REUSED (the device is revoked then),
        DEVICE_REVOKED, ACCOUNT_SUSPENDED.
        """
        presented = refresh_tokens.parse(refresh_token)
        if presented is None:
            raise _refresh_token_invalid()
        for _ in range(_RENEWAL_ATTEMPTS):
            now_ms = self._clock.now_ms()
            device = await self._accounts.device(presented.device_id)
            if device is None:
                raise _refresh_token_invalid()
            outcome = refresh_tokens.present(
                refresh_tokens.decode_state(device.refresh_state),
                presented,
                now_ms=now_ms,
                grace_ms=1000 * self._settings.refresh_grace_seconds,
                salt=self._random_bytes(refresh_tokens.SALT_BYTES),
            )
            if isinstance(outcome, refresh_tokens.Unknown):
                raise _refresh_token_invalid()
            if device.revoke_time_ms is not None:
                raise device_revoked()
            if not device.live(now_ms):
                raise _refresh_token_invalid()
            if isinstance(outcome, refresh_tokens.Reused):
                await self.revoke(device.user_id, device.device_id)
                raise Refusal(
                    Reason.REFRESH_TOKEN_REUSED,
                    "This refresh token was used before, so somebody else may hold it. "
                    "The device was logged out: log in again.",
                )
            user = await self._accounts.user(device.user_id)
            if user is None:
                raise _refresh_token_invalid()
            if user.suspend_time_ms is not None:
                raise account_suspended()
            if isinstance(outcome, refresh_tokens.Repeated):
                return self._token_pair(user, device, outcome.token)
            renewed = self._renewed(device, outcome.state, now_ms)
            if await self._accounts.renew_device(renewed):
                return self._token_pair(user, renewed, outcome.token)
        raise _renewed_too_often()

    async def list_live(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> tuple[DeviceRow, ...]:
        """The user's devices that are logged in, newest (create_time_ms, device_id) first, all below
        `before`.
        """
        if before is not None and not (abs(before[0]) < _LARGEST_MS and is_device_id(before[1])):
            raise invalid_field("page_token", "is not a token of this list: pass next_page_token as it came")
        return await self._accounts.devices(user_id, now_ms=self._clock.now_ms(), before=before, limit=limit)

    async def revoke(self, user_id: str, device_id: str) -> None:
        """Log the user's device out: durable, and refused on this node, when it returns. Repeating it is
        fine.

        Raises Refusal DEVICE_NOT_FOUND when it is none of this user's.
        """
        if not is_device_id(device_id) or not await self._completion.run(self._revoke(user_id, device_id)):
            raise Refusal(
                Reason.DEVICE_NOT_FOUND, "You have no such device. Call ListDevices for those that you have."
            )

    def access_token(self, user: UserRow, device_id: str, expire_time_ms: int) -> str:
        """An access token for the device, until `expire_time_ms`."""
        claims = AccessClaims(user.user_id, device_id, user.operator, expire_time_ms)
        return self._issuer.issue(claims, self._clock.now_ms())

    async def _add(self, device: DeviceRow, password_hash: str | None) -> DeviceAdded:
        now_ms = self._clock.now_ms()
        outcome = await self._accounts.add_device(
            device,
            device_limit=self._settings.device_limit,
            now_ms=now_ms,
            forget_before_ms=now_ms - 1000 * self._settings.refresh_lifetime_seconds,
            password_hash=password_hash,
        )
        for logged_out in outcome.logged_out:
            self._authenticator.device_revoked(logged_out)
        return outcome

    async def _log_in_again(self, device_id: str, token: refresh_tokens.RefreshToken) -> DeviceRow:
        for _ in range(_RENEWAL_ATTEMPTS):
            now_ms = self._clock.now_ms()
            device = await self._accounts.device(device_id)
            if device is None or not device.live(now_ms):
                raise Refusal(
                    Reason.DEVICE_REVOKED,
                    "The device of this request was logged out. Log in with a new request_id.",
                )
            state = refresh_tokens.start_chain(refresh_tokens.decode_state(device.refresh_state), token)
            renewed = self._renewed(device, state, now_ms)
            if await self._accounts.renew_device(renewed):
                return renewed
        raise _renewed_too_often()

    async def _revoke(self, user_id: str, device_id: str) -> bool:
        device = await self._accounts.revoke_device(user_id, device_id, now_ms=self._clock.now_ms())
        if device is None:
            return False
        self._authenticator.device_revoked(device)
        return True

    def _renewed(self, device: DeviceRow, state: refresh_tokens.RefreshState, now_ms: int) -> DeviceRow:
        return replace(
            device,
            refresh_time_ms=now_ms,
            access_expire_time_ms=self._access_expire_time_ms(now_ms),
            refresh_expire_time_ms=self._refresh_expire_time_ms(now_ms),
            refresh_state=refresh_tokens.encode_state(state),
            version=device.version + 1,
        )

    def _token_pair(self, user: UserRow, device: DeviceRow, token: refresh_tokens.RefreshToken) -> TokenPair:
        expire_time_ms = self._access_expire_time_ms(self._clock.now_ms())
        return TokenPair(
            access_token=self.access_token(user, device.device_id, expire_time_ms),
            access_expire_time_ms=expire_time_ms,
            refresh_token=token.text,
            refresh_expire_time_ms=device.refresh_expire_time_ms,
        )

    def _access_expire_time_ms(self, now_ms: int) -> int:
        # Whole seconds, as the token itself says it.
        return (now_ms // 1000 + self._settings.access_lifetime_seconds) * 1000

    def _refresh_expire_time_ms(self, now_ms: int) -> int:
        return now_ms + 1000 * self._settings.refresh_lifetime_seconds


def bad_credentials() -> Refusal:
    """The answer to a log-in with a name or a password that is not right, whichever it is."""
    return Refusal(Reason.BAD_CREDENTIALS, "User name and password do not match.")


def _refresh_token_invalid() -> Refusal:
    return Refusal(Reason.REFRESH_TOKEN_INVALID, "The refresh token is unknown or has expired. Log in again.")


def _renewed_too_often() -> Refusal:
    return Refusal(
        Reason.SERVER_BUSY,
        "This device renews its tokens in too many places at once. Try again in a moment.",
        retry_after_seconds=1.0,
    )
