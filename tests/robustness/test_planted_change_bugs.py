"""Each planted bug of messages that change is found by the same checker in a short run, under its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from parley_server.testing.robustness.changes_history import ChangeKind
from parley_server.testing.robustness.changes_report import ChangeDemands
from parley_server.testing.robustness.scenario import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.robustness.conftest import ChangesPlan

TRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunt:
    """How a bug is found: as what, in which world, after how many kills."""

    found_as: ChangeKind
    world: tuple[str, ...] = ()
    kills: int = 0
    acknowledged: int = 200


BUGS = {
    "events_not_presented": Hunt(found_as=ChangeKind.TAKEN_BACK_SERVED),
    "as_of_ahead": Hunt(found_as=ChangeKind.DIVERGED),
    "reaction_counted_again": Hunt(found_as=ChangeKind.MISCOUNTED),
    "deletion_keeps_reactions": Hunt(found_as=ChangeKind.PROJECTED_WRONGLY),
    "erased_before_commit": Hunt(found_as=ChangeKind.ERASED_WRONGLY, acknowledged=300),
    "edited_by_anybody": Hunt(found_as=ChangeKind.NOT_PERMITTED),
    # The kill at rest is enough: it takes the projection of the newest event, which is a reaction.
    "changes_not_caught_up": Hunt(
        found_as=ChangeKind.PROJECTED_WRONGLY, world=("projections_last",), acknowledged=100
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(run_changes: ChangesPlan, seed: int, bug: str, tmp_path: Path) -> None:
    """The bug's moment must be met, which each of these short runs makes likely: eight at most."""
    hunt = BUGS[bug]
    for number in range(TRIES):
        plan = Plan(
            seed=seed + number,
            kills=hunt.kills,
            acknowledged=hunt.acknowledged,
            call_seconds=3.0,
            stall_seconds=3.0,
            drain_seconds=4.0,
        )
        data = tmp_path / f"node{number}"
        report = run_changes(plan, ChangeDemands(), *hunt.world, bug, data=data, keep=False)
        if hunt.found_as in report.kinds:
            return
    pytest.fail(f"{bug} was not found as {hunt.found_as.name}:\n{report.text()}")
