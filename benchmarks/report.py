"""docs/benchmarks.md from a record: `python benchmarks/report.py [FILE]` (default: the newest kept)."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.figures import GENERATOR_CPU_LIMIT, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.figures import Case, Figure, Scenario, Target

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
NOTES = ROOT / "benchmarks" / "notes.md"
DOCUMENT = ROOT / "docs" / "benchmarks.md"


def summary(run: Run) -> str:
    """The run in lines for a terminal; a target that was not reached says MISSED."""
    lines: list[str] = []
    for scenario in run.scenarios:
        lines += ["", scenario.title]
        for case in scenario.cases:
            lines.append(f"  {case.name}")
            lines += [f"    {figure.name:26} {_value(figure)} {figure.unit}" for figure in case.figures]
            if case.generator_cpu_share:
                lines.append(f"    {'CPU of node, generator':26} {_shares(case)}")
            if case.generator_cpu_share and case.generator_is_the_limit:
                lines.append("    CAUTION: the generator may have been the limit")
    lines.append("")
    lines += [_target_line(target) for scenario in run.scenarios for target in scenario.targets]
    if run.quick:
        lines.append("a quick run: these figures say nothing")
    return "\n".join(lines)


def document(run: Run, notes: str) -> str:
    """The whole page."""
    return "\n".join(_document(run, notes)) + "\n"


def _document(run: Run, notes: str) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield "Made by `python benchmarks/report.py` from the record of one `make bench`: do not edit."
    yield ""
    if run.quick:
        yield "> **A quick run: it shows that all scenarios work. The figures say nothing.**"
        yield ""
    elif run.preliminary:
        yield "> **Preliminary: the machine was busy with other work. Read ratios, not figures.**"
        yield ""
    yield from _facts(run)
    yield ""
    yield "Every figure is the median of its rounds, with the smallest and the largest behind it. CPU shares"
    yield "are parts of one core: node, and generator. A case whose generator used more than"
    yield f"{GENERATOR_CPU_LIMIT:.0%} of its core is marked, since the load may then have been the limit."
    targets = [target for scenario in run.scenarios for target in scenario.targets]
    if targets:
        yield ""
        yield "## Targets"
        yield ""
        yield "| target | wanted | measured | |"
        yield "|---|---|---|---|"
        for target in targets:
            yield (
                f"| {target.name} | {target.bound} {_number(target.limit)} | {_number(target.value)} "
                f"| {'met' if target.met else '**MISSED**'} |"
            )
    for scenario in run.scenarios:
        yield ""
        yield f"## {scenario.title}"
        yield ""
        yield scenario.setting
        yield ""
        yield from _table(scenario)
    if notes:
        yield ""
        yield notes.rstrip()


def _facts(run: Run) -> Iterator[str]:
    host = run.host
    packages = host["packages"]
    assert isinstance(packages, dict)
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    pinned = "node and generator share one core"
    if run.pinned["node"]:
        pinned = "the node pinned to one core with all its threads, the generators to another"
    commit = str(run.commit["id"])[:12] + (" with changes on top" if run.commit["dirty"] else "")
    yield f"- {run.time}, commit {commit}, {run.seconds:.0f} s"
    yield f"- {host['cpu']}, {host['cores']} cores, {host['memory_gib']} GiB, Linux {host['kernel']}"
    yield f"- Python {host['python']}, {versions}, SQLite {host['sqlite']}"
    yield f"- data on {host['file_system']}; fdatasync of 4 KiB {host['fdatasync_ms']} ms; {pinned}"
    yield f"- open files {host['open_files_limit']}, load average at the start {host['load_average']}"
    yield "- settings that differ from the defaults: rates without effect, leases of 600 s, log level warning"


def _table(scenario: Scenario) -> Iterator[str]:
    for cases in _alike(scenario.cases):
        figures = cases[0].figures
        loaded = bool(cases[0].generator_cpu_share)
        heads = [f"{one.name} ({one.unit})" if one.unit else one.name for one in figures]
        yield "| | " + " | ".join([*heads, *(["CPU node, generator"] if loaded else [])]) + " |"
        yield "|---" * (1 + len(figures) + loaded) + "|"
        for case in cases:
            values = [_value(figure) for figure in case.figures]
            mark = " (generator at its limit)" if loaded and case.generator_is_the_limit else ""
            yield (
                f"| {case.name}{mark} | " + " | ".join([*values, *([_shares(case)] if loaded else [])]) + " |"
            )
        yield ""


def _alike(cases: list[Case]) -> Iterator[list[Case]]:
    """Neighbouring cases with the same figures: one table each."""
    group: list[Case] = []
    for case in cases:
        if group and _columns(group[0]) != _columns(case):
            yield group
            group = []
        group.append(case)
    yield group


def _columns(case: Case) -> list[tuple[str, str]]:
    return [(figure.name, figure.unit) for figure in case.figures]


def _value(figure: Figure) -> str:
    if len(figure.rounds) == 1:
        return _number(figure.median)
    return f"{_number(figure.median)} ({_number(figure.smallest)}–{_number(figure.largest)})"


def _shares(case: Case) -> str:
    return f"{statistics.median(case.node_cpu_share):.0%}, {statistics.median(case.generator_cpu_share):.0%}"


def _target_line(target: Target) -> str:
    verdict = "met   " if target.met else "MISSED"
    return f"{verdict} {target.name}: {_number(target.value)}, {target.bound} {_number(target.limit)}"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    if 0 < value < 0.2:
        return f"{value:.3f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def main() -> int:
    """Write the document."""
    given = sys.argv[1:]
    if len(given) > 1 or given in (["-h"], ["--help"]):
        print(__doc__)
        return 0 if len(given) == 1 else 2
    records = [Path(given[0])] if given else sorted(RESULTS.glob("*.json"))
    if not records:
        print("no record in benchmarks/results: run `make bench` first", file=sys.stderr)
        return 1
    try:
        run = msgspec.json.decode(records[-1].read_bytes(), type=Run)
    except (OSError, msgspec.MsgspecError) as error:
        print(f"{records[-1].name} is not a record of make bench: {error}", file=sys.stderr)
        return 1
    notes = NOTES.read_text(encoding="utf-8") if NOTES.exists() else ""
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document(run, notes), encoding="utf-8")
    print(f"docs/{DOCUMENT.name} from {records[-1].name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
