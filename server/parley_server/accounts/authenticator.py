"""Who is calling: access tokens checked without leaving the event loop, revocations included."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from parley_runtime.logs import get_logger
from parley_runtime.refusal import Reason, Refusal
from parley_runtime.tokens import LARGEST_TOKEN_BYTES, TokenVerifier
from parley_server.accounts.caller import Caller

if TYPE_CHECKING:
    from parley_runtime.clock import Clock
    from parley_server.accounts.settings import AccountSettings
    from parley_server.ports.accounts import Accounts, DeviceRow, UserRow

RevocationCallback = Callable[[str, str | None, Reason], None]
"""Told (user_id, device_id, reason) when calls of a device stop being served; device_id None: of all the
user's devices.
"""

log = get_logger(__name__)


class Authenticator:
    """Checks access tokens, and knows the revocations that running tokens may still meet.

    Everything but `load` is a plain call on the event loop.
    """

    def __init__(self, verifier: TokenVerifier, clock: Clock, settings: AccountSettings) -> None:
        self._verifier = verifier
        self._clock = clock
        self._cache_size = settings.token_cache_size
        # An access token made just before a revocation runs out at most this much later. The grace is part
        # of it because an answer that is repeated within it holds a fresh access token.
        self._longest_token_ms = 1000 * (
            settings.access_lifetime_seconds + settings.refresh_grace_seconds + settings.clock_leeway_seconds
        )
        self._leeway_ms = 1000 * settings.clock_leeway_seconds
        # By digest of the token, the latest used last. The device's streams and calls share the caller.
        self._verified: dict[bytes, Caller] = {}
        # By id of the device, or of a user who deleted the account: the two never look alike.
        self._revoked_until_ms: dict[str, int] = {}
        self._suspended: set[str] = set()
        self._callbacks: list[RevocationCallback] = []
        self._next_sweep_ms = 0

    async def load(self, accounts: Accounts) -> None:
        """Learn the revocations that still matter. To be called before the first `authenticate`. Raises
        StoreUnavailable.
        """
        now_ms = self._clock.now_ms()
        since_ms, access_after_ms = now_ms - self._longest_token_ms, now_ms - self._leeway_ms
        for device in await accounts.revoked_devices(since_ms=since_ms, access_after_ms=access_after_ms):
            self._remember(device)
        for user in await accounts.suspended_users(since_ms=since_ms, access_after_ms=access_after_ms):
            self._suspended.add(user.user_id)

    def authenticate(self, metadata: Mapping[str, str]) -> Caller:
        """The caller behind `authorization: Bearer <token>` in the metadata (keys in lower case).

        Raises Refusal: TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED, DEVICE_REVOKED or ACCOUNT_SUSPENDED.
        """
        caller = self._caller(_bearer_token(metadata))
        self.check_served(caller)
        return caller

    def check_served(self, caller: Caller) -> None:
        """Raises Refusal, DEVICE_REVOKED or ACCOUNT_SUSPENDED, when calls of this caller are served no more:
        for answers that take long.
        """
        if caller.device_id in self._revoked_until_ms or caller.user_id in self._revoked_until_ms:
            raise device_revoked()
        if caller.user_id in self._suspended:
            raise account_suspended()

    def subscribe(self, callback: RevocationCallback) -> Callable[[], None]:
        """Have `callback` called at every revocation from now on. Returns the call that ends it."""
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return unsubscribe

    def device_revoked(self, device: DeviceRow) -> None:
        """Refuse the device's tokens from now on and tell the subscribers. Repeating it is harmless."""
        self._remember(device)
        self._tell(device.user_id, device.device_id, Reason.DEVICE_REVOKED)

    def user_suspended(self, user: UserRow) -> None:
        """Refuse the user's tokens from now on and tell the subscribers. Repeating it is harmless."""
        self._suspended.add(user.user_id)
        self._tell(user.user_id, None, Reason.ACCOUNT_SUSPENDED)

    def user_deleted(self, user_id: str) -> None:
        """Refuse all tokens of the user as those of revoked devices, from now on, and tell the subscribers.

        Repeating it is harmless. After a restart it is the devices, all revoked, that tell.
        """
        self._refuse(user_id, self._clock.now_ms() + self._longest_token_ms)
        self._tell(user_id, None, Reason.DEVICE_REVOKED)

    def user_restored(self, user: UserRow) -> None:
        """Take the user's tokens again."""
        self._suspended.discard(user.user_id)

    def _caller(self, token: str) -> Caller:
        now_ms = self._clock.now_ms()
        if len(token) > LARGEST_TOKEN_BYTES:
            return self._verify(token, now_ms)
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        caller = self._verified.pop(digest, None)
        if caller is None:
            caller = self._verify(token, now_ms)
        else:
            self._verifier.check_expiry(caller.expire_time_ms, now_ms)
        self._verified[digest] = caller
        if len(self._verified) > self._cache_size:
            # Several at a time: a dictionary walks past all that it lost before it finds its oldest entry.
            for oldest in tuple(islice(self._verified, 1 + self._cache_size // 16)):
                del self._verified[oldest]
        return caller

    def _verify(self, token: str, now_ms: int) -> Caller:
        claims = self._verifier.verify(token, now_ms)
        # One string for all devices of a user, and for what is kept by user.
        user_id = sys.intern(claims.user_id)
        return Caller(user_id, claims.device_id, claims.operator, claims.expire_time_ms)

    def _remember(self, device: DeviceRow) -> None:
        revoke_time_ms = self._clock.now_ms() if device.revoke_time_ms is None else device.revoke_time_ms
        self._refuse(
            device.device_id,
            max(revoke_time_ms + self._longest_token_ms, device.access_expire_time_ms + self._leeway_ms),
        )

    def _refuse(self, device_or_user_id: str, until_ms: int) -> None:
        now_ms = self._clock.now_ms()
        if now_ms >= self._next_sweep_ms:
            self._next_sweep_ms = now_ms + self._longest_token_ms
            for known_id in [key for key, end_ms in self._revoked_until_ms.items() if end_ms <= now_ms]:
                del self._revoked_until_ms[known_id]
        self._revoked_until_ms[device_or_user_id] = until_ms

    def _tell(self, user_id: str, device_id: str | None, reason: Reason) -> None:
        for callback in tuple(self._callbacks):
            try:
                callback(user_id, device_id, reason)
            except Exception:
                # The revocation stands whatever a subscriber makes of it, and the others must hear of it.
                log.exception("subscriber to revocations failed", user_id=user_id, device_id=device_id)


def device_revoked() -> Refusal:
    """The answer to a device that was logged out or revoked."""
    return Refusal(Reason.DEVICE_REVOKED, "This device was logged out. Log in again.")


def account_suspended() -> Refusal:
    """The answer to everybody of a suspended account."""
    return Refusal(
        Reason.ACCOUNT_SUSPENDED, "An operator suspended this account. Ask the operator of this server."
    )


def _bearer_token(metadata: Mapping[str, str]) -> str:
    scheme, _, token = metadata.get("authorization", "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Refusal(
            Reason.TOKEN_MISSING,
            "No access token. Send metadata `authorization: Bearer <token>`; log in to get one.",
        )
    return token
