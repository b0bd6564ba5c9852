"""Streams that are open and silent: what accepting them costs, and what memory they hold."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.figures import Case, Figure, Target
from benchmarks.machine import require_files
from benchmarks.transports import speech
from benchmarks.transports.contestant import Contestant
from benchmarks.transports.kind import KINDS, WIRE
from benchmarks.transports.rounds import generator_row, row

if TYPE_CHECKING:
    from benchmarks.machine import Cores
    from benchmarks.parties import Round
    from benchmarks.scale import Bench
    from benchmarks.transports.kind import Kind
    from benchmarks.transports.scale import TransportScale
    from benchmarks.transports.table import Table

STREAM_KIB = 5.0
_MESSAGES = 5


@dataclass(frozen=True, slots=True)
class _Look:
    """At one server: its opening, and KiB per stream, silent and after a few messages to each."""

    opened: Round
    silent_kib: float
    after_kib: float


async def measure(bench: Bench, table: Table) -> None:
    """Measure all sizes, each round on new servers."""
    scale = bench.scale.transports
    require_files(max(scale.idle_streams) + scale.idle_first)
    for streams in scale.idle_streams:
        found: dict[Kind, list[_Look]] = {kind: [] for kind in KINDS}
        for number in range(scale.idle_rounds):
            bench.say(f"g: {streams} idle streams, round {number + 1} of {scale.idle_rounds}")
            first = number % len(KINDS)
            for kind in (*KINDS[first:], *KINDS[:first]):
                found[kind].append(await _look(kind, bench.cores, streams, scale))
        opened = {kind: [look.opened for look in looks] for kind, looks in found.items()}
        name = f"accepting {streams} connections with a stream each"
        table.cpu.append(
            row(name, "µs", opened, lambda one, n=streams: one.node_cpu_seconds / n * 1e6, loaded=True)  # type: ignore[misc]
        )
        table.generator.append(generator_row(name, opened))
        silent = {kind: [look.silent_kib for look in looks] for kind, looks in found.items()}
        after = {kind: [look.after_kib for look in looks] for kind, looks in found.items()}
        name = f"{streams} idle streams"
        case = _memory(name, silent)
        table.memory += [case, _memory(f"{name}, after {_MESSAGES} messages to each", after)]
        table.targets.append(
            Target.of(f"{name}, KiB per stream", "at most", STREAM_KIB, case.figure(WIRE.name))
        )


async def _look(kind: Kind, cores: Cores, streams: int, scale: TransportScale) -> _Look:
    said = speech.stream(kind.protocol, speech.SUBSCRIBE)
    async with Contestant.enter(kind, said, cores) as one:
        await one.open(scale.idle_first)
        await one.fan_out(_MESSAGES, 1)
        before = one.resident_bytes
        opened = await one.open(streams)
        await asyncio.sleep(scale.idle_settle_seconds)
        silent = one.resident_bytes
        await one.fan_out(_MESSAGES, 1)
        after = one.resident_bytes
    return _Look(opened, (silent - before) / streams / 1024, (after - before) / streams / 1024)


def _memory(name: str, kib: dict[Kind, list[float]]) -> Case:
    return Case(name, [Figure.of(kind.name, "KiB", rounds) for kind, rounds in kib.items()], [], [])
