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

from parley_server.testing.robustness.report import Demands, Report, report_on
from parley_server.testing.robustness.scenario import Plan, Run, kills_and_pauses, run_scenario

if TYPE_CHECKING:
    from collections.abc import Awaitable

PLANTED = Path(__file__).resolve().parent.parent / "planted"

RunPlan = Callable[..., Report]


@pytest.fixture
def run_plan(tmp_path: Path) -> RunPlan:
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
        world = ("power_cut", "cheap_passwords") if power_cut else ("cheap_passwords",)
        files = tuple(PLANTED / f"{name}.py" for name in (*world, *plants))
        history = asyncio.run(run_scenario(plan, data or tmp_path / "node", files, trouble, settings))
        report = report_on(history, demands)
        sys.stdout.write(report.text())
        if keep and not report.passed:
            parent = os.environ.get("PARLEY_ROBUSTNESS_FOLDER")
            folder = Path(tempfile.mkdtemp(prefix=f"robustness-{plan.seed}-", dir=parent))
            report.save(folder)
            sys.stdout.write(f"history and report are in {folder}\n")
        return report

    return run


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of these runs: PARLEY_ROBUSTNESS_SEED, else another one each time. Reports name it."""
    return int(os.environ.get("PARLEY_ROBUSTNESS_SEED") or int.from_bytes(os.urandom(4), "big"))
