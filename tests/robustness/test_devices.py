"""A device that was away, slow, cut off or moved ends with exactly what one that never left has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from parley_server.testing.robustness.device import RESTLESS
from parley_server.testing.robustness.faults import KILL
from parley_server.testing.robustness.networks import KINDS, NETWORK
from parley_server.testing.robustness.report import Demands
from parley_server.testing.robustness.scenario import Plan

if TYPE_CHECKING:
    from tests.robustness.conftest import DevicesPlan

# `make robustness` asks for more.
MESSAGES = int(os.environ.get("PARLEY_ROBUSTNESS_MESSAGES", "2000"))
KILLS = max(2, MESSAGES // 1000)
LONG = MESSAGES > 2000
RESUMES = frozenset({"continued", "reset NO_CURSOR", "reset EPOCH_CHANGED", "reset MALFORMED"})
# On a busy machine a short run may meet only one of these: a device comes back having missed little, or much.
RARE_RESUMES = frozenset({"replayed", "digested"})
FAULTS = frozenset({KILL, *(NETWORK + kind for kind in KINDS)})


@pytest.mark.slow
@pytest.mark.timeout(180 + MESSAGES // 10)
def test_every_device_ends_with_the_log_within_its_memberships(run_devices: DevicesPlan, seed: int) -> None:
    """5 senders, 20 devices of 8 users in 4 groups and 6 direct channels, members who come and go; kills that
    take all that was not synced, and networks that are cut, reset, half-closed, silent, slow and delayed.

    The run is void, which fails, unless every kind of fault and, in the long form, every way to resume was
    met, streams lagged, devices lost their state and members moved. The bugs of tests/planted are found in
    runs like this one: see test_planted_device_bugs.
    """
    report = run_devices(
        Plan(seed=seed, kills=KILLS, acknowledged=MESSAGES),
        Demands(
            kills=KILLS,
            acknowledged=MESSAGES,
            unknown=KILLS // 2,
            resumes=RESUMES | (RARE_RESUMES if LONG else frozenset()),
            faults=FAULTS,
            lags=1,
            forgotten=1,
            moves=45,
        ),
    )
    assert report.passed, report.text()
    assert any(report.coverage.resumes.get(kind, 0) for kind in RARE_RESUMES), report.text()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_what_is_lost_on_the_way_to_a_stream_is_read_from_the_log(
    run_devices: DevicesPlan, seed: int
) -> None:
    """One batch in twenty never reaches an open session. With `gap_passed_on` as well, events are MISSED."""
    report = run_devices(
        Plan(seed=seed, kills=0, acknowledged=400),
        Demands(acknowledged=400),
        "lossy_delivery",
        habits=RESTLESS,
    )
    assert report.passed, report.text()
