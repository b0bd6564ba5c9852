"""What a run did and what is wrong with it, for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_server.testing.robustness.faults import KILL
from parley_server.testing.robustness.history import History, Outcome
from parley_server.testing.robustness.model import change_of, logs_of
from parley_server.testing.robustness.networks import NETWORK
from parley_server.testing.robustness.validation import validate

if TYPE_CHECKING:
    from pathlib import Path

    from parley_server.testing.robustness.finding import Finding, Kind
    from parley_server.testing.robustness.history import Fault

_FINDINGS_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What a run must have met for its result to mean anything."""

    kills: int = 0
    acknowledged: int = 0
    unknown: int = 0
    duplicates: int = 0
    resumes: frozenset[str] = frozenset()
    faults: frozenset[str] = frozenset()
    lives: int = 0
    lags: int = 0
    forgotten: int = 0
    moves: int = 0


@dataclass(frozen=True, slots=True)
class Coverage:
    """Counts of a run.

    `unknown` are the attempts that were in flight at a fault and got no answer; `landed_kills` the kills that
    left at least one such; `duplicates` the retries of unknown attempts that turned out to have been written.
    Of devices: how many streams they had (`lives` of programs with the SDK, which open several streams each),
    how those resumed, how often each kind of fault came, `lags` and events `given`, how often one lost its
    state (`forgotten`), and the changes of membership in the logs (`moves`).
    """

    acknowledged: int
    attempts: int
    refused: int
    unknown: int
    duplicates: int
    kills: int
    landed_kills: int
    faults: int
    sessions: int
    delivered: int
    reads: int
    marks: int
    resumes: Counter[str]
    fault_kinds: Counter[str]
    devices: int
    lives: int
    given: int
    lags: int
    forgotten: int
    moves: int


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one run."""

    history: History
    coverage: Coverage
    findings: list[Finding]
    void: list[str]

    @property
    def passed(self) -> bool:
        """Whether the run met its demands and nothing was found."""
        return not self.findings and not self.void

    @property
    def kinds(self) -> set[Kind]:
        """The kinds of what was found."""
        return {finding.kind for finding in self.findings}

    def save(self, folder: Path) -> None:
        """Write `history.json` and `report.txt` into the folder, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        self.history.save(folder / "history.json")
        (folder / "report.txt").write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The report as lines."""
        counts = self.coverage
        lines = [
            f"seed {self.history.seed}: {'passed' if self.passed else 'FAILED'}",
            f"  sends     {counts.acknowledged} acknowledged in {counts.attempts} attempts, "
            f"{counts.refused} refused, {counts.unknown} unknown at a fault, "
            f"{counts.duplicates} retries were duplicates",
            f"  faults    {counts.faults}, of them kills {counts.kills}, "
            f"with a send in flight that was never answered {counts.landed_kills}",
            f"  readers   {counts.sessions} streams with {counts.delivered} events, {counts.reads} reads, "
            f"{counts.marks} read positions",
        ]
        if counts.devices:
            lines += [
                f"  devices   {counts.devices} with {counts.lives} streams or programs' lives, "
                f"given {counts.given} events, {counts.lags} lags, {counts.forgotten} states lost, "
                f"{counts.moves} changes of membership",
                f"  resumes   {_counted(counts.resumes)}",
                f"  faults    {_counted(counts.fault_kinds)}",
            ]
        lines += [
            f"  {self._fault(fault)}" for fault in self.history.faults if not fault.kind.startswith(NETWORK)
        ]
        lines += [f"  void: {reason}" for reason in self.void]
        for kind, count in Counter(finding.kind for finding in self.findings).most_common():
            lines.append(f"  found {count} × {kind.name}: {kind.value}")
        lines += [f"    {finding}" for finding in self.findings[:_FINDINGS_SHOWN]]
        if len(self.findings) > _FINDINGS_SHOWN:
            lines.append(f"    … and {len(self.findings) - _FINDINGS_SHOWN} more")
        return "\n".join(lines) + "\n"

    def _fault(self, fault: Fault) -> str:
        sends = self.history.sends
        unknown = [number for number in fault.in_flight if sends[number].outcome is Outcome.UNKNOWN]
        lasted = "" if fault.end_ns is None else f" {(fault.end_ns - fault.start_ns) / 1e9:.2f} s"
        return f"{fault.kind}:{lasted} {len(fault.in_flight)} in flight, {len(unknown)} of them unknown"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.most_common())


def report_on(history: History, demands: Demands) -> Report:
    """Check the history and hold the run against its demands."""
    coverage = coverage_of(history)
    return Report(history, coverage, validate(history), _void(coverage, demands))


def coverage_of(history: History) -> Coverage:
    """What the run met."""
    sends = history.sends
    struck: set[int] = set()
    kills = [fault for fault in history.faults if fault.kind == KILL]
    landed = 0
    for fault in history.faults:
        unanswered = {number for number in fault.in_flight if sends[number].outcome is Outcome.UNKNOWN}
        landed += fault.kind == KILL and bool(unanswered)
        struck |= unanswered
    uncertain = {
        (send.sender_id, send.client_message_id) for send in sends if send.outcome is Outcome.UNKNOWN
    }
    duplicates = sum(
        send.duplicate and (send.sender_id, send.client_message_id) in uncertain for send in sends
    )
    outcomes = Counter(send.outcome for send in sends)
    return Coverage(
        acknowledged=outcomes[Outcome.OK],
        attempts=len(sends),
        refused=outcomes[Outcome.REFUSED],
        unknown=len(struck),
        duplicates=duplicates,
        kills=len(kills),
        landed_kills=landed,
        faults=len(history.faults),
        sessions=len(history.sessions),
        delivered=sum(len(events) for session in history.sessions for events in session.events.values()),
        reads=len(history.reads),
        marks=sum(mark.outcome is Outcome.OK for mark in history.marks),
        resumes=Counter(stream.resume for stream in history.device_streams if stream.welcome_ns is not None),
        fault_kinds=Counter(fault.kind for fault in history.faults),
        devices=len({stream.device for stream in history.device_streams}),
        lives=len(history.device_streams),
        given=sum(step.entry is not None for stream in history.device_streams for step in stream.steps),
        lags=sum(stream.lags for stream in history.device_streams),
        forgotten=len({(stream.device, stream.life) for stream in history.device_streams if stream.life}),
        moves=_moves(history),
    )


def _moves(history: History) -> int:
    """Changes of membership in the logs, those by which the channels were made among them."""
    return sum(change_of(entry) is not None for log in logs_of(history).values() for entry in log.entries)


def _void(coverage: Coverage, demands: Demands) -> list[str]:
    wanted = (
        ("kills with a send in flight", coverage.landed_kills, demands.kills),
        ("acknowledged messages", coverage.acknowledged, demands.acknowledged),
        ("unknown outcomes at a fault", coverage.unknown, demands.unknown),
        ("retries that were duplicates", coverage.duplicates, demands.duplicates),
        ("streams of devices", coverage.lives, demands.lives),
        ("lagging streams", coverage.lags, demands.lags),
        ("devices that lost their state", coverage.forgotten, demands.forgotten),
        ("changes of membership", coverage.moves, demands.moves),
        *((f"streams that began as {each}", coverage.resumes[each], 1) for each in sorted(demands.resumes)),
        *((f"faults of kind {each}", coverage.fault_kinds[each], 1) for each in sorted(demands.faults)),
    )
    return [f"{had} {what}, {least} are needed" for what, had, least in wanted if had < least]
