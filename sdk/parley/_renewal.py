"""Keeping an access token fresh: one renewal at a time, and the new pair stored before it is used."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from parley._advice import Advice
from parley._errors import ParleyError
from parley._tokens import Tokens, claims_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

_PAUSE_AFTER_FAILURE_MS = 30_000
"""How long a renewal that came before its time and failed is left alone."""


def renewal_due_ms(access_expire_ms: int, lifetime_ms: int) -> int:
    """When to renew a token: after two thirds of its life, or at its end when that is unknown (0)."""
    return access_expire_ms - lifetime_ms // 3


class Renewal:
    """The token of one client.

    `refresh(refresh_token)` asks the server for a new pair. `on_tokens` is called with every new pair before
    anybody else sees it. `reload_tokens` is asked first: another process that uses the same log-in may have
    renewed already, and a refresh token works only once. `renewal_lock()` is entered around all of this, so
    that such processes can take turns. Times are in milliseconds of `now_ms`.
    """

    def __init__(
        self,
        token: Tokens | str,
        refresh: Callable[[Tokens], Awaitable[Tokens]],
        *,
        on_tokens: Callable[[Tokens], None] | None = None,
        reload_tokens: Callable[[], Tokens | None] | None = None,
        renewal_lock: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._refresh = refresh
        self._on_tokens = on_tokens
        self._reload_tokens = reload_tokens
        self._renewal_lock = renewal_lock
        self._now_ms = now_ms
        self._tokens = token if isinstance(token, Tokens) else None
        self._access_token = token.access_token if isinstance(token, Tokens) else token
        self._due_ms = self._due_of(self._tokens) if self._tokens else 0
        self._flight: asyncio.Task[None] | None = None

    @property
    def tokens(self) -> Tokens | None:
        """The newest tokens; None when the client was given a bare access token."""
        return self._tokens

    @property
    def user_id(self) -> str:
        """Whose token it is; "" when a bare token does not say."""
        return self._tokens.user_id if self._tokens else claims_of(self._access_token).user_id

    async def access_token(self) -> str:
        """A token to call with, renewed first when two thirds of its life are over.

        While the old token still works, a renewal that fails for a passing reason is put off. Raises
        ParleyError when there is no usable token, and whatever `on_tokens` raises.
        """
        if self._tokens and self._now_ms() >= self._due_ms:
            try:
                await self._renew()
            except ParleyError as error:
                passing = error.advice in (Advice.RETRY, Advice.LATER)
                if not passing or self._now_ms() >= self._tokens.access_expire_ms:
                    raise
                self._due_ms = self._now_ms() + _PAUSE_AFTER_FAILURE_MS
        return self._access_token

    async def newer_token(self, token: str) -> str:
        """Wait for a token that is newer than `token`, renewed when two thirds of its life are over.

        Raises as `access_token` does. Waits for ever where a bare token cannot be renewed.
        """
        while True:
            newer = await self.access_token()
            if newer != token:
                return newer
            if self._tokens is None:
                await asyncio.Event().wait()
            await asyncio.sleep(max(0.1, min(60.0, (self._due_ms - self._now_ms()) / 1000)))

    async def replace(self, refused_token: str, error: ParleyError) -> None:
        """Renew after the server refused `refused_token` as expired. Raises `error` if that cannot be.

        Does nothing when the token has been renewed since the refused call began.
        """
        if self._tokens is None:
            raise error
        if self._access_token == refused_token:
            await self._renew()

    async def aclose(self) -> None:
        """Let a renewal that is under way end: its answer must be stored, or the device is logged out."""
        if self._flight is not None:
            await asyncio.wait([self._flight])

    async def _renew(self) -> None:
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly(), name="parley token renewal")
            self._flight.add_done_callback(self._landed)
        # A caller that is cancelled must not take the renewal with it: the old refresh token is used up.
        await asyncio.shield(self._flight)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # Callers that are gone cannot fetch it.

    async def _fly(self) -> None:
        async with self._renewal_lock():
            await self._renew_now()

    async def _renew_now(self) -> None:
        assert self._tokens is not None
        if self._reload_tokens is not None:
            stored = self._reload_tokens()
            if stored is not None and stored.access_expire_ms > self._tokens.access_expire_ms:
                self._adopt(stored, self._due_of(stored))
                if self._now_ms() < self._due_ms:
                    return
        made = await self._refresh(self._tokens)
        # This clock may be wrong, so the life of a token made just now is counted from now.
        lifetime_ms = claims_of(made.access_token).lifetime_ms or made.access_expire_ms - self._now_ms()
        self._adopt(made, self._now_ms() + max(lifetime_ms, 0) * 2 // 3)
        if self._on_tokens is not None:
            self._on_tokens(made)

    def _adopt(self, tokens: Tokens, due_ms: int) -> None:
        self._tokens = tokens
        self._access_token = tokens.access_token
        self._due_ms = due_ms

    @staticmethod
    def _due_of(tokens: Tokens) -> int:
        return renewal_due_ms(tokens.access_expire_ms, claims_of(tokens.access_token).lifetime_ms)
