"""Each planted bug is found by the same checker in a short run, under its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from parley_server.testing.robustness.finding import Kind
from parley_server.testing.robustness.report import Demands
from parley_server.testing.robustness.scenario import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.robustness.conftest import RunPlan

TRIES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunt:
    """How a bug is found: as what, in which world, after how many kills."""

    found_as: Kind
    world: tuple[str, ...] = ()
    kills: int = 3
    acknowledged: int = 500


BUGS = {
    "synchronous_off": Hunt(found_as=Kind.LOST),
    "lazy_append": Hunt(found_as=Kind.LOST),
    "ack_before_commit": Hunt(found_as=Kind.LOST),
    "dedup_in_memory_only": Hunt(found_as=Kind.DUPLICATED),
    # The kill at rest is enough: it takes the projection of the newest events. History ends there as well,
    # and would only show them LOST, if it were not read further.
    "never_caught_up": Hunt(
        found_as=Kind.BEHIND, world=("projections_last", "read_past_projections"), kills=0, acknowledged=200
    ),
    "ack_before_project": Hunt(found_as=Kind.STALE),
    "fan_out_before_commit": Hunt(found_as=Kind.CHANGED),
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(run_plan: RunPlan, seed: int, bug: str, tmp_path: Path) -> None:
    """A kill must fall into the bug's window, which is a matter of chance: six short runs at most."""
    hunt = BUGS[bug]
    for number in range(TRIES):
        plan = Plan(
            seed=seed + number,
            kills=hunt.kills,
            acknowledged=hunt.acknowledged,
            call_seconds=3.0,
            stall_seconds=3.0,
            drain_seconds=2.0,
        )
        data = tmp_path / f"node{number}"
        report = run_plan(plan, Demands(), *hunt.world, bug, data=data, keep=False)
        if hunt.found_as in report.kinds:
            return
    pytest.fail(f"{bug} was not found as {hunt.found_as.name}:\n{report.text()}")
