"""Renewing tokens: early, once at a time, stored before use."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parley
from parley._renewal import Renewal, renewal_due_ms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LIFETIME_MS = 900_000
EXPIRED = parley.TokenExpired("old", code=grpc.StatusCode.UNAUTHENTICATED, reason="TOKEN_EXPIRED")
GONE = parley.Unreachable("gone", code=grpc.StatusCode.UNAVAILABLE)
REUSED = parley.RefreshTokenReused(
    "used", code=grpc.StatusCode.UNAUTHENTICATED, reason="REFRESH_TOKEN_REUSED"
)


class Clock:
    """A clock that only a test moves; milliseconds."""

    def __init__(self) -> None:
        self.ms = 1_000_000_000

    def __call__(self) -> int:
        return self.ms


def _pair(number: int, made_ms: int) -> parley.Tokens:
    end_ms = made_ms + LIFETIME_MS
    claims = {"sub": "u", "iat": made_ms // 1000, "exp": end_ms // 1000, "n": number}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return parley.Tokens("u", "d", "alice", f"a.{body}.s", end_ms, f"refresh-{number}", end_ms + 10**9)


class Server:
    """Hands out pairs. Its clock may differ from the client's by `skew_ms`."""

    def __init__(self, clock: Clock, skew_ms: int = 0) -> None:
        self.clock = clock
        self.skew_ms = skew_ms
        self.asked: list[str] = []
        self.failure: parley.ParleyError | None = None
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    def pair(self) -> parley.Tokens:
        return _pair(len(self.asked), self.clock() + self.skew_ms)

    async def refresh(self, tokens: parley.Tokens) -> parley.Tokens:
        self.asked.append(tokens.refresh_token)
        self.reached.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.pair()


def _renewal(
    server: Server,
    token: parley.Tokens | str,
    on_tokens: Callable[[parley.Tokens], None] | None = None,
    reload_tokens: Callable[[], parley.Tokens | None] | None = None,
) -> Renewal:
    return Renewal(
        token, server.refresh, on_tokens=on_tokens, reload_tokens=reload_tokens, now_ms=server.clock
    )


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 40))
def test_a_token_is_due_within_its_last_third(end_ms: int, lifetime_ms: int) -> None:
    """Planted: one third of the life instead of two."""
    due_ms = renewal_due_ms(end_ms, lifetime_ms)
    assert due_ms <= end_ms
    assert 3 * (end_ms - due_ms) <= lifetime_ms < 3 * (end_ms - due_ms) + 3


async def test_it_is_renewed_at_two_thirds_of_its_life_and_stored_first() -> None:
    """Planted: renewal at expiry only; on_tokens not called."""
    server = Server(Clock())
    first = server.pair()
    stored: list[parley.Tokens] = []
    renewal = _renewal(server, first, on_tokens=stored.append)
    server.clock.ms += LIFETIME_MS * 2 // 3 - 1
    assert await renewal.access_token() == first.access_token
    assert server.asked == []
    server.clock.ms += 1
    second = await renewal.access_token()
    assert server.asked == ["refresh-0"]
    assert [each.access_token for each in stored] == [second]
    assert second != first.access_token
    server.clock.ms += LIFETIME_MS * 2 // 3
    await renewal.access_token()
    assert server.asked == ["refresh-0", "refresh-1"]


@pytest.mark.parametrize("skew_ms", [-(10**8), 10**8])
async def test_a_wrong_clock_does_not_renew_again_and_again(skew_ms: int) -> None:
    """Its life is counted from now. Planted: due by this clock and the server's expiry."""
    server = Server(Clock(), skew_ms)
    renewal = _renewal(server, server.pair())
    await renewal.replace(await renewal.access_token(), EXPIRED)
    asked = len(server.asked)
    for _ in range(5):
        server.clock.ms += 60_000
        await renewal.access_token()
    assert len(server.asked) == asked


async def test_many_callers_make_one_renewal() -> None:
    """A refresh token works once. Planted: every caller renews for itself."""
    server = Server(Clock())
    renewal = _renewal(server, server.pair())
    server.clock.ms += LIFETIME_MS
    server.gate.clear()
    callers = [asyncio.create_task(renewal.access_token()) for _ in range(50)]
    await server.reached.wait()
    server.gate.set()
    assert len(set(await asyncio.gather(*callers))) == 1
    assert server.asked == ["refresh-0"]


async def test_a_caller_who_gives_up_does_not_lose_the_new_pair() -> None:
    """The old refresh token is used up by then. Planted: no shield around the renewal."""
    server = Server(Clock())
    stored: list[parley.Tokens] = []
    renewal = _renewal(server, server.pair(), on_tokens=stored.append)
    server.clock.ms += LIFETIME_MS
    server.gate.clear()
    caller = asyncio.create_task(renewal.access_token())
    await server.reached.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    closing = asyncio.create_task(renewal.aclose())
    await asyncio.sleep(0)
    server.gate.set()
    await closing
    assert len(stored) == 1


async def test_while_the_old_token_works_a_passing_failure_is_put_off() -> None:
    """Planted: the failure raised although the token has minutes left; tried again at every call."""
    server = Server(Clock())
    first = server.pair()
    renewal = _renewal(server, first)
    server.clock.ms += LIFETIME_MS * 2 // 3
    server.failure = GONE
    assert await renewal.access_token() == first.access_token
    assert await renewal.access_token() == first.access_token
    assert len(server.asked) == 1
    server.clock.ms += LIFETIME_MS // 3
    with pytest.raises(parley.Unreachable):
        await renewal.access_token()


async def test_a_lasting_failure_is_told_at_once() -> None:
    """The device is logged out: waiting helps nobody. Planted: every failure put off."""
    server = Server(Clock())
    renewal = _renewal(server, server.pair())
    server.clock.ms += LIFETIME_MS * 2 // 3
    server.failure = REUSED
    with pytest.raises(parley.RefreshTokenReused):
        await renewal.access_token()


async def test_only_the_token_that_was_refused_is_replaced() -> None:
    """Several calls are refused together. Planted: a second renewal for the second of them."""
    server = Server(Clock())
    first = server.pair()
    renewal = _renewal(server, first)
    await renewal.replace(first.access_token, EXPIRED)
    await renewal.replace(first.access_token, EXPIRED)
    assert server.asked == ["refresh-0"]


async def test_a_bare_token_is_never_renewed() -> None:
    """Planted: an attempt to refresh without a refresh token."""
    server = Server(Clock())
    renewal = _renewal(server, "operator")
    assert await renewal.access_token() == "operator"
    with pytest.raises(parley.TokenExpired):
        await renewal.replace("operator", EXPIRED)
    assert server.asked == []
    assert renewal.tokens is None


async def test_a_pair_that_another_program_stored_is_taken() -> None:
    """Both would use one refresh token otherwise. Planted: stored tokens not asked for."""
    server = Server(Clock())
    first = server.pair()
    shelf = [first]
    renewal = _renewal(server, first, on_tokens=shelf.append, reload_tokens=lambda: shelf[-1])
    server.clock.ms += LIFETIME_MS * 2 // 3
    shelf.append(_pair(77, server.clock()))
    assert await renewal.access_token() == shelf[1].access_token
    assert server.asked == []
    server.clock.ms += LIFETIME_MS
    await renewal.access_token()
    assert server.asked == ["refresh-77"]


async def test_an_older_stored_pair_is_left_alone() -> None:
    """A store that lags behind holds a used token. Planted: whatever differs is taken."""
    server = Server(Clock())
    old = _pair(50, server.clock() - LIFETIME_MS)
    renewal = _renewal(server, server.pair(), reload_tokens=lambda: old)
    server.clock.ms += LIFETIME_MS
    await renewal.access_token()
    assert server.asked == ["refresh-0"]


async def test_when_storing_fails_the_new_pair_is_kept_all_the_same() -> None:
    """The old one is used up. Planted: the pair taken into use only after on_tokens returned."""
    server = Server(Clock())
    renewal = _renewal(server, server.pair(), on_tokens=_disk_full)
    server.clock.ms += LIFETIME_MS
    with pytest.raises(OSError, match="disk full"):
        await renewal.access_token()
    tokens = renewal.tokens
    assert tokens is not None
    assert tokens.refresh_token == "refresh-1"
    assert await renewal.access_token() == tokens.access_token


def _disk_full(tokens: parley.Tokens) -> None:
    raise OSError("disk full")


async def test_programs_that_share_a_log_in_take_turns() -> None:
    """Reading, renewing and storing are one step. Planted: the lock not entered."""
    server = Server(Clock())
    shelf = [server.pair()]
    lock = asyncio.Lock()

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        async with lock:
            yield

    programs = [
        Renewal(
            shelf[0],
            server.refresh,
            on_tokens=shelf.append,
            reload_tokens=lambda: shelf[-1],
            renewal_lock=turn,
            now_ms=server.clock,
        )
        for _ in range(5)
    ]
    server.clock.ms += LIFETIME_MS * 2 // 3
    server.gate.clear()
    asking = asyncio.gather(*(program.access_token() for program in programs))
    await server.reached.wait()
    server.gate.set()
    seen = await asking
    assert server.asked == ["refresh-0"]
    assert set(seen) == {shelf[-1].access_token}
