"""A store without room says so to each send; when there is room again all goes on, and nothing is gone."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from parley_server.testing.robustness import faults
from parley_server.testing.robustness.history import History, Outcome
from parley_server.testing.robustness.report import Demands, Report
from parley_server.testing.robustness.scenario import Plan, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.robustness.conftest import RunPlan

DISK_BYTES = 16 << 20
FULL_SECONDS = 60.0
UNAVAILABLE = "STORE_UNAVAILABLE"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB. Skips where nothing may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def twice_without_room(run: Run, fill: Callable[[], None], make_room: Callable[[], None]) -> None:
    """Take the room away twice, each time until 40 sends were told so by STORE_UNAVAILABLE; then kill."""
    for number in (1, 2):
        await run.until_acknowledged(150 * number)
        async with faults.disk_full(run.recorder, fill, make_room), asyncio.timeout(FULL_SECONDS):
            wanted = unavailable(run.recorder.history) + 40

            def enough(wanted: int = wanted) -> bool:
                return unavailable(run.recorder.history) >= wanted

            await run.recorder.until(enough)
    await run.until_acknowledged(run.recorder.acknowledged + 150)
    await faults.kill(run.node, run.recorder)


def unavailable(history: History) -> int:
    """How many attempts were told that the store is unavailable."""
    return sum(send.reason == UNAVAILABLE for send in history.sends)


def check(report: Report) -> None:
    """Nothing is wrong, the node never ended by itself, and no send was told anything but to try again."""
    assert report.passed, report.text()
    history = report.history
    assert [fault.kind for fault in history.faults] == ["disk full", "disk full", "kill", "kill at rest"]
    assert unavailable(history) >= 80
    assert all(send.outcome is not Outcome.REFUSED for send in history.sends)
    first_ns, kill_ns = history.faults[0].start_ns, history.faults[2].start_ns
    before_kill = [send for send in history.sends if first_ns < (send.end_ns or 0) < kill_ns]
    # A node that had ended would have broken connections: reasons without a name.
    assert {send.reason for send in before_kill} == {"", UNAVAILABLE}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_files_that_cannot_grow(run_plan: RunPlan, seed: int, tmp_path: Path) -> None:
    """The kernel refuses to let any file of the node grow (EFBIG), which SQLite sees as a failing disk.

    Planted by hand: appends and projections that failed taken for done. Found as LOST.
    """
    data = tmp_path / "node"

    async def trouble(run: Run) -> None:
        def fill() -> None:
            faults.limit_file_size(run.node, (data / "chat.db-wal").stat().st_size)

        await twice_without_room(run, fill, lambda: faults.limit_file_size(run.node, None))

    plan = Plan(seed=seed, acknowledged=600)
    check(run_plan(plan, Demands(kills=1), trouble=trouble, data=data, power_cut=False))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_full_disk(run_plan: RunPlan, seed: int, small_disk: Path) -> None:
    """A small file system is filled to its last byte (ENOSPC) and emptied again."""
    ballast = small_disk / "ballast"

    def fill() -> None:
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass

    async def trouble(run: Run) -> None:
        await twice_without_room(run, fill, ballast.unlink)

    plan = Plan(seed=seed, acknowledged=600)
    check(run_plan(plan, Demands(kills=1), trouble=trouble, data=small_disk, power_cut=False))
