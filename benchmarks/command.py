"""The command: which scenarios to run, how large, where the record goes."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from benchmarks import deliveries, history, idle, resuming, sending, stalled
from benchmarks.figures import FORMAT, Run, Scenario
from benchmarks.machine import ROOT, Cores, MachineUnfit, commit, host_facts
from benchmarks.parties import SETTINGS, GeneratorFailed
from benchmarks.report import summary
from benchmarks.scale import FULL, QUICK, Bench
from benchmarks.transports import scenario as transports
from benchmarks.transports.generator import built_generator

from parley_server.testing.node_process import NodeFailed

SCENARIOS = {
    scenario.LETTER: (scenario.TITLE, scenario.measure)
    for scenario in (sending, deliveries, idle, history, resuming, stalled, transports)
}
RESULTS = ROOT / "benchmarks" / "results"
STOPPED_EXIT_CODE = 130
STALL_LIMIT_SECONDS = 240.0

Say = Callable[[str], None]

EPILOG = """examples:
  python benchmarks/run.py                      everything, about 18 minutes
  python benchmarks/run.py --only a,d --quick   two scenarios, just to see them run
  python benchmarks/run.py --json out.json      the record goes there
  python benchmarks/report.py                   docs/benchmarks.md from the newest record kept

Figures are worth keeping only from an idle machine. The data lies on the disk of the current folder (or of
--folder): a RAM disk syncs nothing, and would make the durable figures meaningless."""


def main() -> int:
    """Run the command. Returns the exit code: 0, 1 when something failed, 2 for wrong usage, 130 stopped."""
    options = _parse()
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {text}", flush=True)

    try:
        run = asyncio.run(_stopping_on_signals(_run(options, say)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped; nothing was written", file=sys.stderr)
        return STOPPED_EXIT_CODE
    except (MachineUnfit, NodeFailed, GeneratorFailed) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    path = options.json or RESULTS / f"{run.time[:19].replace(':', '')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
    print(summary(run))
    print(f"record: {os.path.relpath(path)}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py",
        description="Measure a node of Parley on this machine, one core for the node, another for the load.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    titles = "; ".join(f"{letter}: {title}" for letter, (title, _) in SCENARIOS.items())
    parser.add_argument("--only", type=_letters, default=list(SCENARIOS), metavar="a,b", help=titles)
    parser.add_argument(
        "--quick", action="store_true", help="tiny loads: shows that all runs, measures nothing"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the record goes")
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="where the nodes' data lies for the while"
    )
    parser.add_argument(
        "--stall-seconds", type=_seconds, metavar="S", help="how long the one reader of scenario f stalls"
    )
    parser.add_argument("--preliminary", action="store_true", help="mark the record: the machine was busy")
    return parser.parse_args()


def _letters(text: str) -> list[str]:
    letters = [letter.strip() for letter in text.split(",")]
    unknown = [letter for letter in letters if letter not in SCENARIOS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(SCENARIOS)}")
    return sorted(set(letters))


def _seconds(text: str) -> float:
    """From 1 to 240: a node disconnects a reader that takes nothing for 300 s."""
    seconds = float(text)
    if not 1 <= seconds <= STALL_LIMIT_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to {STALL_LIMIT_SECONDS:g}")
    return seconds


async def _stopping_on_signals(work: Coroutine[None, None, Run]) -> Run:
    """Run the work; SIGTERM stops it as Ctrl-C does, and its children end before this returns."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


async def _run(options: argparse.Namespace, say: Say) -> Run:
    started = time.monotonic()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    cores = Cores.divide()
    scale = QUICK if options.quick else FULL
    if options.stall_seconds:
        scale = replace(scale, stall_seconds=options.stall_seconds)
    if transports.LETTER in options.only:
        # Rather now than after everything else was measured.
        await asyncio.to_thread(built_generator)
    if not cores.node:
        say("this machine has one core: node and generators share it, and figures are too low")
    folder = Path(tempfile.mkdtemp(prefix="bench-data-", dir=options.folder))
    try:
        host = host_facts(folder)
        if host["file_system"] in ("tmpfs", "ramfs"):
            say("the data lies on a RAM disk: figures of durable writes mean nothing (see --folder)")
        scenarios: list[Scenario] = []
        for letter in options.only:
            title, measure = SCENARIOS[letter]
            say(f"{letter}: {title}")
            inner = folder / letter
            inner.mkdir()
            scenarios.append(await measure(Bench(scale, inner, cores, say)))
            shutil.rmtree(inner)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Run(
        format=FORMAT,
        time=now,
        commit=commit(),
        quick=options.quick,
        preliminary=options.preliminary or options.quick,
        host=host,
        pinned={"node": sorted(cores.node), "generator": sorted(cores.generator)},
        settings=SETTINGS,
        seconds=round(time.monotonic() - started, 1),
        scenarios=scenarios,
    )
