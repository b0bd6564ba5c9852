"""Each planted bug of sessions, feeds and fan-out is found by the same checker in a short run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parley_server.testing.robustness.device import RESTLESS, Habits
from parley_server.testing.robustness.finding import Kind
from parley_server.testing.robustness.report import Demands
from parley_server.testing.robustness.scenario import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.robustness.conftest import DevicesPlan

TRIES = 10
BUGS = {
    ("heads_before_listening",): Kind.MISSED,
    ("cursor_ahead",): Kind.CURSOR_AHEAD,
    ("epoch_kept",): Kind.EPOCH_KEPT,
    ("position_reused",): Kind.CURSOR_AHEAD,
    ("announcement_lost",): Kind.NOT_CAUGHT_UP,
    ("late_repeat_counted",): Kind.CURSOR_AHEAD,
    ("lag_without_catch_up",): Kind.MISSED,
    ("read_beyond_head",): Kind.MISSED,
    ("gap_passed_on", "lossy_delivery"): Kind.MISSED,
    ("removed_member_served",): Kind.STRANGER_SERVED,
    ("noted_forgotten",): Kind.MISSED,
    ("replay_from_head",): Kind.NOT_CAUGHT_UP,
    ("marks_not_told",): Kind.MARK_NOT_TOLD,
}

# Found by devices that stay, not by those that come back.
CALM = {("removed_member_served",)}
# A device that names its channels is compared with their heads, whatever the feed says.
UNNAMED = {("announcement_lost",)}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("bug", BUGS, ids="+".join)
def test_a_planted_bug_is_found(
    run_devices: DevicesPlan, seed: int, bug: tuple[str, ...], tmp_path: Path
) -> None:
    """A device must be cut off at the bug's moment, which is a matter of chance: three short runs at most."""
    for number in range(TRIES):
        plan = Plan(
            seed=seed + number,
            kills=int("epoch_kept" in bug),
            acknowledged=300,
            call_seconds=3.0,
            stall_seconds=3.0,
            drain_seconds=3.0,
        )
        data = tmp_path / f"node{number}"
        habits = Habits() if bug in CALM else RESTLESS
        if bug in UNNAMED:
            habits = replace(habits, names_no_channels=1.0)
        report = run_devices(plan, Demands(), *bug, habits=habits, data=data, keep=False)
        if BUGS[bug] in report.kinds:
            return
    pytest.fail(f"{'+'.join(bug)} was not found as {BUGS[bug].name}:\n{report.text()}")
