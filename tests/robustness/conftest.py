"""Running robustness scenarios from tests."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.robustness.changes_report import ChangeDemands, ChangeReport, report_on_changes
from parley_server.testing.robustness.changes_scenario import run_changes_scenario
from parley_server.testing.robustness.device_scenario import run_device_scenario
from parley_server.testing.robustness.report import Demands, Report, report_on
from parley_server.testing.robustness.scenario import Plan, Run, kills_and_pauses, run_scenario

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from parley_server.testing.robustness.device import Habits
    from parley_server.testing.robustness.device_scenario import MakeDevice, MakeWriter


RunPlan = Callable[..., Report]
DevicesPlan = Callable[..., Report]
ChangesPlan = Callable[..., ChangeReport]


@pytest.fixture
def run_plan(tmp_path: Path, planted: Path) -> RunPlan:
    """Runs a plan against a node with plants of tests/planted, prints the report and keeps what failed.

    With `power_cut` a kill takes all that was not synced.
    Where failed histories go: PARLEY_ROBUSTNESS_FOLDER, else a fresh folder in the system's temporary one.
    Not on pytest's loop: its debug mode would make the clients slower than the node.
    """

    def run(
        plan: Plan,
        demands: Demands,
        *plants: str,
        trouble: Callable[[Run], Awaitable[None]] = kills_and_pauses,
        settings: dict[str, object] | None = None,
        data: Path | None = None,
        power_cut: bool = True,
        keep: bool = True,
    ) -> Report:
        names = ("power_cut", *plants) if power_cut else plants
        files = (*(planted / f"{name}.py" for name in names), CHEAP_PASSWORDS)
        history = asyncio.run(run_scenario(plan, data or tmp_path / "node", files, trouble, settings))
        return _reported(report_on(history, demands), keep=keep)

    return run


@pytest.fixture
def run_devices(tmp_path: Path, planted: Path) -> DevicesPlan:
    """The same for a plan with devices, always with `power_cut`."""

    def run(
        plan: Plan,
        demands: Demands,
        *plants: str,
        habits: Habits | None = None,
        make: MakeDevice | None = None,
        write: MakeWriter | None = None,
        data: Path | None = None,
        keep: bool = True,
    ) -> Report:
        files = (*(planted / f"{name}.py" for name in ("power_cut", *plants)), CHEAP_PASSWORDS)
        running = run_device_scenario(plan, data or tmp_path / "node", files, habits, make, write)
        history = asyncio.run(running)
        return _reported(report_on(history, demands), keep=keep)

    return run


@pytest.fixture
def run_changes(tmp_path: Path, planted: Path) -> ChangesPlan:
    """The same for a plan with changes, always with `power_cut`."""

    def run(
        plan: Plan, demands: ChangeDemands, *plants: str, data: Path | None = None, keep: bool = True
    ) -> ChangeReport:
        files = (*(planted / f"{name}.py" for name in ("power_cut", *plants)), CHEAP_PASSWORDS)
        history = asyncio.run(run_changes_scenario(plan, data or tmp_path / "node", files))
        report = report_on_changes(history, demands)
        _keep(report, plan.seed, keep=keep)
        return report

    return run


def _reported(report: Report, *, keep: bool) -> Report:
    _keep(report, report.history.seed, keep=keep)
    return report


def _keep(report: Report | ChangeReport, seed: int, *, keep: bool) -> None:
    sys.stdout.write(report.text())
    if keep and not report.passed:
        parent = os.environ.get("PARLEY_ROBUSTNESS_FOLDER")
        folder = Path(tempfile.mkdtemp(prefix=f"robustness-{seed}-", dir=parent))
        report.save(folder)
        sys.stdout.write(f"history and report are in {folder}\n")


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of these runs: PARLEY_ROBUSTNESS_SEED, else another one each time. Reports name it."""
    return int(os.environ.get("PARLEY_ROBUSTNESS_SEED") or int.from_bytes(os.urandom(4), "big"))
