"""How long and how often a call is repeated: decided without a clock, carried out in one loop."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from parley._advice import Advice
from parley._errors import ParleyError, TimedOut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Answer = TypeVar("Answer")

_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 2.0
_LONGEST_RECONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Patience:
    """The bounds of one call with all its repetitions.

    It ends `total_seconds` after it began, or after `attempts_limit` attempts (None: as many as fit). One
    attempt is given up after `attempt_seconds`. With `waits_for_limits`, the wait that a limit asks for
    (advice LATER) is waited and the call made again, if it fits the total.
    """

    total_seconds: float
    attempt_seconds: float = 10.0
    attempts_limit: int | None = None
    waits_for_limits: bool = False


def wait_before_repeating(
    patience: Patience, error: ParleyError, attempts: int, remaining_seconds: float, fraction: float
) -> float | None:
    """How many seconds to wait before the call is made again; None means: do not, raise the error.

    `attempts` have been made, the last ended with `error`, `remaining_seconds` are left, `fraction` is
    random in [0, 1). The wait is drawn from the whole range up to a bound that doubles (full jitter), so
    that clients that failed together do not come back together. It is never shorter than the server asked
    for.
    """
    if patience.attempts_limit is not None and attempts >= patience.attempts_limit:
        return None
    asked = error.retry_after_seconds
    if error.advice is Advice.RETRY:
        bound = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(attempts - 1, 16))
        wait = (asked or 0.0) + fraction * bound
    elif error.advice is Advice.LATER and patience.waits_for_limits and asked is not None:
        wait = asked + fraction * _FIRST_WAIT_SECONDS
    else:
        return None
    return wait if wait < remaining_seconds else None


def reconnect_wait_seconds(failures: int, asked_seconds: float | None, fraction: float) -> float:
    """How long to wait before the next stream is opened, `failures` attempts after the last that worked.

    What the server asked for is kept: its time is this client's own. To it comes a wait drawn from a range
    that doubles from 0.2 up to 10 seconds (full jitter); `fraction` is random in [0, 1).
    """
    bound = min(_LONGEST_RECONNECT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(failures, 16))
    return (asked_seconds or 0.0) + fraction * bound


async def persist(patience: Patience, attempt: Callable[[float], Awaitable[Answer]]) -> Answer:
    """Make `attempt(timeout_seconds)` until it answers or patience ends, and then raise its last ParleyError.

    The attempt must be safe to repeat and must give up by itself after the seconds it is given.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + patience.total_seconds
    attempts = 0
    last: ParleyError | None = None
    while True:
        remaining = end - loop.time()
        if remaining <= 0:
            raise last or TimedOut.after(patience.total_seconds)
        try:
            return await attempt(min(patience.attempt_seconds, remaining))
        except ParleyError as error:
            last = error
        attempts += 1
        fraction = random.random()
        wait = wait_before_repeating(patience, last, attempts, end - loop.time(), fraction)
        if wait is None:
            raise last
        await asyncio.sleep(wait)
