"""What a run yields: cases with their figures, each with all its rounds. Pure."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.parties import Round

FORMAT = 1
GENERATOR_CPU_LIMIT = 0.8
"""A generator that uses more of its core than this may be what was measured."""


class Figure(msgspec.Struct, frozen=True):
    """One thing measured, over several rounds."""

    name: str
    unit: str
    rounds: list[float]
    median: float
    smallest: float
    largest: float

    @staticmethod
    def of(name: str, unit: str, rounds: Iterable[float]) -> Figure:
        """The figure of these rounds."""
        values = [float(f"{value:.5g}") for value in rounds]
        return Figure(name, unit, values, statistics.median(values), min(values), max(values))


class Case(msgspec.Struct, frozen=True):
    """One load, and the figures it gave. CPU shares are parts of one core, one per round."""

    name: str
    figures: list[Figure]
    generator_cpu_share: list[float]
    node_cpu_share: list[float]

    @staticmethod
    def of(name: str, figures: Sequence[Figure], rounds: Sequence[Round]) -> Case:
        """The case of these rounds."""
        return Case(
            name,
            list(figures),
            [round(one.generator_cpu_share, 3) for one in rounds],
            [round(one.node_cpu_share, 3) for one in rounds],
        )

    def figure(self, name: str) -> Figure:
        """The figure of that name. Raises KeyError."""
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(name)

    @property
    def generator_is_the_limit(self) -> bool:
        """Whether the generator, and not the node, may have set the figures."""
        return statistics.median(self.generator_cpu_share) > GENERATOR_CPU_LIMIT


class Target(msgspec.Struct, frozen=True):
    """What a figure should reach. `value` is its median."""

    name: str
    bound: Literal["at least", "at most"]
    limit: float
    value: float
    unit: str
    met: bool

    @staticmethod
    def of(name: str, bound: Literal["at least", "at most"], limit: float, figure: Figure) -> Target:
        """Hold the figure's median against the limit."""
        met = figure.median >= limit if bound == "at least" else figure.median <= limit
        return Target(name, bound, limit, figure.median, figure.unit, met)


class Scenario(msgspec.Struct, frozen=True):
    """The cases of one scenario and the targets among them. `setting` says what was measured, in words."""

    letter: str
    title: str
    setting: str
    cases: list[Case]
    targets: list[Target]


class Run(msgspec.Struct, frozen=True):
    """All of one run: the raw record. `preliminary`: the machine was not idle, or the run was a short one."""

    format: int
    time: str
    commit: dict[str, object]
    quick: bool
    preliminary: bool
    host: dict[str, object]
    pinned: dict[str, list[int]]
    settings: dict[str, object]
    seconds: float
    scenarios: list[Scenario]


def percentiles(latencies: list[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest, from seconds to milliseconds. Sorts the list."""
    latencies.sort()
    count = len(latencies)
    named = {f"p{p}": latencies[min(count - 1, count * p // 100)] for p in (50, 95, 99)}
    return {name: value * 1e3 for name, value in {**named, "max": latencies[-1]}.items()}
