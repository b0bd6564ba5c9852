"""The rows that a scenario's parts find, sorted into tables by what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.figures import Case, Target


@dataclass(slots=True)
class Table:
    """What was found so far."""

    cpu: list[Case] = field(default_factory=list)
    latency: list[Case] = field(default_factory=list)
    memory: list[Case] = field(default_factory=list)
    generator: list[Case] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    @property
    def cases(self) -> list[Case]:
        """All rows; those with the same columns are neighbours."""
        alike = [self.cpu, self.latency, self.memory, self.generator]
        return [case for rows in alike for case in sorted(rows, key=lambda case: -len(case.figures))]
