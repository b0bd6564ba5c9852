"""The port to the rate limiter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` calls in the long run, `burst` at once. Both greater than 0."""

    per_second: float
    burst: int


class RateLimiter(Protocol):
    """Generic cell rate algorithm (GCRA, ITU-T I.371): exact burst, exact retry-after.

    Laws: from rest exactly `burst` calls pass at one instant; then one passes each 1 / per_second seconds; a
    refused call costs nothing; keys do not influence one another.
    """

    answers_at_once: bool
    """Whether `take` never waits for anything."""

    async def take(self, key: str, rate: Rate) -> float:
        """Take one call. Returns 0.0 when it passes, else the seconds after which it would."""
        ...
