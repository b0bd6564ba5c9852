"""What those are told who come too often."""

from __future__ import annotations

import pytest

from parley_runtime.refusal import Refusal
from parley_runtime.settings import Rates
from parley_server.api.rates import RateCheck


class Limiter:
    """Lets nobody pass for `seconds`."""

    answers_at_once = True

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def take(self, key: str, rate: object) -> float:
        return self._seconds


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.000_001, "0.01"), (0.011, "0.02"), (0.25, "0.25"), (59.991, "60.00")]
)
async def test_the_wait_is_rounded_up(seconds: float, shown: str) -> None:
    """Who waits as long as the text says passes. Planted: rounded to the nearest; "Retry after 0.00 s."."""
    with pytest.raises(Refusal) as refused:
        await RateCheck(Limiter(seconds), Rates()).take("call", "ann")
    assert refused.value.message.endswith(f"Retry after {shown} s.")
    assert refused.value.retry_after_seconds == seconds
