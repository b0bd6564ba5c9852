"""Each planted bug is found by the same checker in a short run, under its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_server.testing.robustness.finding import Kind
from parley_server.testing.robustness.report import Demands
from parley_server.testing.robustness.scenario import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.robustness.conftest import RunPlan

TRIES = 10
BUGS = {
    "synchronous_off": Kind.LOST,
    "lazy_append": Kind.LOST,
    "ack_before_commit": Kind.LOST,
    "dedup_in_memory_only": Kind.DUPLICATED,
    "never_caught_up": Kind.BEHIND,
    "ack_before_project": Kind.STALE,
    "fan_out_before_commit": Kind.CHANGED,
}


# A channel whose projections stay behind shows it in inboxes, or takes no more messages: what comes first.
ALSO_FOUND_AS = {"never_caught_up": Kind.UNANSWERED}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(run_plan: RunPlan, seed: int, bug: str, tmp_path: Path) -> None:
    """A kill must fall into the bug's window, which is a matter of chance: three short runs at most."""
    for number in range(TRIES):
        plan = Plan(
            seed=seed + number,
            kills=3,
            acknowledged=500,
            call_seconds=3.0,
            stall_seconds=3.0,
            drain_seconds=2.0,
        )
        report = run_plan(plan, Demands(), bug, data=tmp_path / f"node{number}", keep=False)
        if report.kinds & {BUGS[bug], ALSO_FOUND_AS.get(bug, BUGS[bug])}:
            return
    pytest.fail(f"{bug} was not found as {BUGS[bug].name}:\n{report.text()}")
