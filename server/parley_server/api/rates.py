"""Which rate limits which call."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal
from parley_server.ports.rate_limiter import Rate, RateLimiter

if TYPE_CHECKING:
    from parley_runtime.settings import Rates, RateSetting

_BY_METHOD = {
    "/parley.auth.v1.AuthService/SignUp": "sign_up",
    "/parley.auth.v1.AuthService/LogIn": "log_in",
    # Both tell whether a password is right.
    "/parley.auth.v1.AuthService/ChangePassword": "log_in",
    "/parley.user.v1.UserService/DeleteAccount": "log_in",
} | {
    f"/parley.chat.v1.ChatService/{name}": "send"
    for name in (
        "SendMessage",
        "EditMessage",
        "DeleteMessage",
        "AddReaction",
        "RemoveReaction",
        "PinMessage",
        "UnpinMessage",
    )
}


def _rate(setting: RateSetting) -> Rate:
    return Rate(setting.per_minute / 60, setting.burst)


class RateCheck:
    """Takes calls from the limiter by name of rate."""

    def __init__(self, limiter: RateLimiter, rates: Rates) -> None:
        self._limiter = limiter
        self._rates = {name: _rate(getattr(rates, name)) for name in rates.__struct_fields__}

    @property
    def answers_at_once(self) -> bool:
        """Whether taking never waits for anything."""
        return self._limiter.answers_at_once

    async def take_method(self, method: str, who: str) -> None:
        """Count one unary call of `who` (a user id, or an address). Raises Refusal (RATE_LIMITED)."""
        await self.take(_BY_METHOD.get(method, "call"), who)

    async def take(self, name: str, who: str) -> None:
        """Count one use of the named rate. Raises Refusal (RATE_LIMITED)."""
        retry_after_seconds = await self._limiter.take(f"{name}:{who}", self._rates[name])
        if retry_after_seconds > 0:
            # Rounded up: who comes back earlier is refused again, and "after 0.00 s" tells nobody anything.
            shown_seconds = math.ceil(retry_after_seconds * 100) / 100
            raise Refusal(
                Reason.RATE_LIMITED,
                f"Too many calls of this kind. Retry after {shown_seconds:.2f} s.",
                retry_after_seconds=retry_after_seconds,
                metadata={"rate": name},
            )
