"""What a run with changes did and what is wrong with it, for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_server.testing.robustness.changes_validation import validate_changes
from parley_server.testing.robustness.history import Outcome
from parley_server.testing.robustness.report import Coverage, coverage_of

if TYPE_CHECKING:
    from pathlib import Path

    from parley_server.testing.robustness.changes_history import ChangeFinding, ChangeKind, ChangesHistory

_FINDINGS_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeDemands:
    """What a run must have met for its result to mean anything. `kinds` are kinds of changes that must have
    been acknowledged, `governed` those of rulers.
    """

    kills: int = 0
    acknowledged: int = 0
    unknown: int = 0
    duplicates: int = 0
    kinds: frozenset[str] = frozenset()
    governed: frozenset[str] = frozenset()
    resumes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ChangeReport:
    """The result of one run. `done` counts acknowledged changes by kind, `void` says what it lacked."""

    history: ChangesHistory
    coverage: Coverage
    done: Counter[str]
    findings: list[ChangeFinding]
    void: list[str]

    @property
    def passed(self) -> bool:
        """Whether the run met its demands and nothing was found."""
        return not self.findings and not self.void

    @property
    def kinds(self) -> set[ChangeKind]:
        """The kinds of what was found."""
        return {finding.kind for finding in self.findings}

    def save(self, folder: Path) -> None:
        """Write `history.json` and `report.txt` into the folder, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        self.history.save(folder / "history.json")
        (folder / "report.txt").write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The report as lines."""
        counts, history = self.coverage, self.history
        events = sum(len(log) for log in history.logs.values())
        lines = [
            f"seed {history.base.seed}: {'passed' if self.passed else 'FAILED'}",
            f"  changes   {counts.acknowledged} acknowledged in {counts.attempts} attempts, "
            f"{counts.refused} refused, {counts.unknown} unknown at a fault, "
            f"{counts.duplicates} retries were duplicates",
            f"  by kind   {_counted(self.done)}",
            f"  ruled     {_counted(Counter(history.governed))}",
            f"  logs      {events} events in {len(history.logs)} channels",
            f"  devices   {counts.devices} with {sum(counts.resumes.values())} streams, "
            f"given {counts.given} events, {counts.lags} lags, {counts.forgotten} states lost",
            f"  resumes   {_counted(counts.resumes)}",
            f"  faults    {_counted(counts.fault_kinds)}",
            f"  compared  {len(history.ended)} devices' channels, {len(history.served)} users' channels, "
            f"{len(history.glimpses)} texts",
        ]
        lines += [f"  void: {reason}" for reason in self.void]
        for kind, count in Counter(finding.kind for finding in self.findings).most_common():
            lines.append(f"  found {count} × {kind.name}: {kind.value}")
        lines += [f"    {finding}" for finding in self.findings[:_FINDINGS_SHOWN]]
        if len(self.findings) > _FINDINGS_SHOWN:
            lines.append(f"    … and {len(self.findings) - _FINDINGS_SHOWN} more")
        return "\n".join(lines) + "\n"


def report_on_changes(history: ChangesHistory, demands: ChangeDemands) -> ChangeReport:
    """Check the history and hold the run against its demands."""
    coverage = coverage_of(history.base)
    done = Counter(
        send.way for send in history.base.sends if send.outcome is Outcome.OK and not send.duplicate
    )
    wanted = (
        ("kills with a change in flight", coverage.landed_kills, demands.kills),
        ("acknowledged changes", coverage.acknowledged, demands.acknowledged),
        ("unknown outcomes at a fault", coverage.unknown, demands.unknown),
        ("retries that were duplicates", coverage.duplicates, demands.duplicates),
        *((f"changes of kind {each}", done[each], 1) for each in sorted(demands.kinds)),
        *((f"{each} by a ruler", history.governed.get(each, 0), 1) for each in sorted(demands.governed)),
        *((f"streams that began as {each}", coverage.resumes[each], 1) for each in sorted(demands.resumes)),
    )
    void = [f"{had} {what}, {least} are needed" for what, had, least in wanted if had < least]
    return ChangeReport(history, coverage, done, validate_changes(history), void)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.most_common())
