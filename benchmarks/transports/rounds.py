"""Rounds in which all kinds take their turns, and the rows of a table that come of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures import Case, Figure
from benchmarks.transports.kind import GRPCIO, GRPCIO_SEAM, TCP, WIRE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.parties import Round
    from benchmarks.transports.contestant import Contestant
    from benchmarks.transports.kind import Kind


async def take_turns(
    contestants: Sequence[Contestant], rounds: int, measure: Callable[[Contestant], Awaitable[Round]]
) -> dict[Kind, list[Round]]:
    """So many rounds of each. Every round begins with another kind."""
    found: dict[Kind, list[Round]] = {one.kind: [] for one in contestants}
    for number in range(rounds):
        first = number % len(contestants)
        for one in (*contestants[first:], *contestants[:first]):
            found[one.kind].append(await measure(one))
    return found


def in_the_time(seconds: float, done: int, warm: Round) -> int:
    """How many there should be, so that they take `seconds`, when `done` took as long as `warm`."""
    taken = max(warm.seconds, warm.node_cpu_seconds)
    return max(2, round(done * seconds / taken))


def row(
    name: str, unit: str, found: dict[Kind, list[Round]], value: Callable[[Round], float], *, loaded: bool
) -> Case:
    """One line of the table, a column for each kind. `loaded`: with CPU shares, in each round those of the
    least busy server and of the busiest generator.
    """
    together = list(zip(*found.values(), strict=True)) if loaded else []
    return Case(
        name,
        [Figure.of(kind.name, unit, (value(one) for one in rounds)) for kind, rounds in found.items()],
        [round(max(one.generator_cpu_share for one in turn), 3) for turn in together],
        [round(min(one.node_cpu_share for one in turn), 3) for turn in together],
    )


def generator_row(name: str, found: dict[Kind, list[Round]]) -> Case:
    """How much of its core each kind's generator used."""
    return row(name, "%", found, lambda one: one.generator_cpu_share * 100, loaded=False)


def cpu_row(name: str, found: dict[Kind, list[Round]], each: int = 1) -> Case:
    """Server CPU for each message, or for each of the `each` events in it."""
    return row(
        name, "µs", found, lambda one: one.node_cpu_seconds / one.answer["messages"] / each * 1e6, loaded=True
    )


def latency_rows(name: str, found: dict[Kind, list[Round]]) -> list[Case]:
    """Medians and 99th percentiles."""

    def part(percentile: str) -> Callable[[Round], float]:
        return lambda one: float(one.answer["latency_ms"][percentile])

    return [row(f"{name}, {one}", "ms", found, part(one), loaded=False) for one in ("p50", "p99")]


def to_tcp(case: Case) -> Figure:
    """Our cost by that of a bare write, round by round."""
    return _ratio(case, case.figure(TCP.name).rounds)


def to_grpcio(case: Case) -> Figure:
    """Our cost by that of grpc.aio, of both ways to use it the cheaper one, round by round."""
    both = (case.figure(kind.name).rounds for kind in (GRPCIO, GRPCIO_SEAM))
    return _ratio(case, [min(pair) for pair in zip(*both, strict=True)])


def _ratio(case: Case, other: list[float]) -> Figure:
    ours = case.figure(WIRE.name).rounds
    return Figure.of("ratio", "", (a / b for a, b in zip(ours, other, strict=True)))
