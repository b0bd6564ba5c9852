"""How often what goes wrong in a run of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong, each per step or per call.

    `land`: one of the writes that were given up takes effect. `lose_append`: as `fail_before`, for appends,
    which are few among the calls.
    """

    fail_before: float = 0.0
    fail_after: float = 0.0
    lands_late: float = 0.0
    crash: float = 0.0
    sleep: float = 0.0
    delay_answer: float = 0.0
    clock: float = 0.0
    land: float = 0.0
    lose_append: float = 0.0

    @classmethod
    def drawn(cls, choices: random.Random) -> Faults:
        """Some mixture, from none to plenty."""
        return cls(
            fail_before=choices.choice((0.0, 0.03, 0.15)),
            fail_after=choices.choice((0.0, 0.03, 0.15)),
            lands_late=choices.choice((0.0, 0.5, 1.0)),
            crash=choices.choice((0.0, 0.01, 0.03)),
            sleep=choices.choice((0.0, 0.02, 0.05)),
            delay_answer=choices.choice((0.0, 0.2, 0.5)),
            clock=choices.choice((0.0, 0.02, 0.05)),
            # Soon enough to come between a look at the log and the next, or after much else.
            land=choices.choice((0.02, 0.04, 0.2)),
            lose_append=choices.choice((0.0, 0.1, 0.4)),
        )
