"""Nothing acknowledged is lost, duplicated or reordered, however the node dies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from parley_server.testing.robustness.report import Demands
from parley_server.testing.robustness.scenario import Plan

if TYPE_CHECKING:
    from tests.robustness.conftest import RunPlan

# `make robustness` asks for more.
KILLS = int(os.environ.get("PARLEY_ROBUSTNESS_KILLS", "10"))


@pytest.mark.slow
@pytest.mark.timeout(120 + 30 * KILLS)
def test_nothing_acknowledged_is_lost_when_the_node_is_killed(run_plan: RunPlan, seed: int) -> None:
    """8 senders on unary calls and streams, 8 channels, kills that take all that was not synced.

    The run is void, which fails, unless every kill left a send without an answer, 5 outcomes were unknown,
    one retry was a duplicate and 5,000 messages were acknowledged. The bugs of tests/planted are found in
    runs like this one: see test_planted_bugs.
    """
    acknowledged = 500 * KILLS
    report = run_plan(
        Plan(seed=seed, kills=KILLS, acknowledged=acknowledged),
        Demands(kills=KILLS, acknowledged=acknowledged, unknown=KILLS // 2, duplicates=1),
    )
    assert report.passed, report.text()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_node_that_is_paused_goes_on_as_if_nothing_had_been(run_plan: RunPlan, seed: int) -> None:
    """Stopped for 3 s twice and killed once. Calls are given up after 1 s and repeated, so the node wakes to
    answer people who no longer wait, and to the same messages once more.
    """
    report = run_plan(
        Plan(seed=seed, kills=1, pauses=2, pause_seconds=3.0, acknowledged=800, call_seconds=1.0),
        Demands(kills=1, acknowledged=800, unknown=8, duplicates=1),
    )
    # More where a kill came as everything had just been answered, and was repeated.
    assert report.coverage.faults >= 4
    assert report.passed, report.text()
