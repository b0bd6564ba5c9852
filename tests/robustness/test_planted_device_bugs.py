"""Each planted bug of sessions, feeds and fan-out is found by the same checker in a short run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from parley_server.testing.robustness.device import RESTLESS, Habits
from parley_server.testing.robustness.finding import Kind
from parley_server.testing.robustness.report import Demands
from parley_server.testing.robustness.scenario import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.robustness.conftest import DevicesPlan

TRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunt:
    """How a bug is found: as what, in which world, with devices of which habits, under how much traffic."""

    found_as: Kind
    world: tuple[str, ...] = ()
    habits: Habits = RESTLESS
    acknowledged: int = 300
    kills: int = 0


# Devices that stay: what they are given wrongly comes while they are there.
CALM = Habits(for_good=1.0)
# A device that names its channels is compared with their heads, whatever the feed says.
UNNAMED = replace(RESTLESS, names_no_channels=1.0)
BUGS = {
    "heads_before_listening": Hunt(found_as=Kind.MISSED),
    "cursor_ahead": Hunt(found_as=Kind.CURSOR_AHEAD),
    "epoch_kept": Hunt(found_as=Kind.EPOCH_KEPT, kills=1),
    "position_reused": Hunt(found_as=Kind.CURSOR_AHEAD, acknowledged=800),
    "announcement_lost": Hunt(found_as=Kind.NOT_CAUGHT_UP, habits=UNNAMED),
    "late_repeat_counted": Hunt(found_as=Kind.CURSOR_AHEAD),
    "lag_without_catch_up": Hunt(found_as=Kind.MISSED, world=("slow_writes",), habits=CALM, acknowledged=600),
    "read_beyond_head": Hunt(found_as=Kind.VANISHED),
    "gap_passed_on": Hunt(found_as=Kind.MISSED, world=("lossy_delivery",)),
    "removed_member_served": Hunt(found_as=Kind.STRANGER_SERVED, habits=CALM, acknowledged=800),
    "noted_forgotten": Hunt(found_as=Kind.MISSED),
    "replay_from_head": Hunt(found_as=Kind.NOT_CAUGHT_UP),
    "marks_not_told": Hunt(found_as=Kind.MARK_NOT_TOLD),
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(run_devices: DevicesPlan, seed: int, bug: str, tmp_path: Path) -> None:
    """A device must meet the bug's moment, which each of these short runs makes all but certain: eight at
    most.
    """
    hunt = BUGS[bug]
    for number in range(TRIES):
        plan = Plan(
            seed=seed + number,
            kills=hunt.kills,
            acknowledged=hunt.acknowledged,
            call_seconds=3.0,
            stall_seconds=3.0,
            drain_seconds=3.0,
        )
        data = tmp_path / f"node{number}"
        report = run_devices(plan, Demands(), bug, *hunt.world, habits=hunt.habits, data=data, keep=False)
        if hunt.found_as in report.kinds:
            return
    pytest.fail(f"{bug} was not found as {hunt.found_as.name}:\n{report.text()}")
