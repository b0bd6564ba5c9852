"""Scenario f: what readers cost that take nothing, and what they cost others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import stalled_crowd, stalled_reader
from benchmarks.figures import Scenario

if TYPE_CHECKING:
    from benchmarks.scale import Bench

LETTER = "f"
TITLE = "Stalled readers"
SETTING = f"{stalled_reader.SETTING}\n\n{stalled_crowd.SETTING}"


async def measure(bench: Bench) -> Scenario:
    """Measure one reader that stalls under load, then a crowd of them beside healthy ones."""
    one_cases, one_targets = await stalled_reader.measure(bench)
    crowd_cases, crowd_targets = await stalled_crowd.measure(bench)
    return Scenario(LETTER, TITLE, SETTING, [*one_cases, *crowd_cases], [*one_targets, *crowd_targets])
