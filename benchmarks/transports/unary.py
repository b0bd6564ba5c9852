"""Unary calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures import Target
from benchmarks.transports import speech
from benchmarks.transports.contestant import contest
from benchmarks.transports.kind import KINDS
from benchmarks.transports.rounds import cpu_row, generator_row, in_the_time, take_turns, to_grpcio

if TYPE_CHECKING:
    from benchmarks.parties import Round
    from benchmarks.scale import Bench
    from benchmarks.transports.contestant import Contestant
    from benchmarks.transports.kind import Kind
    from benchmarks.transports.table import Table

TO_GRPCIO = 0.35


async def measure(bench: Bench, table: Table) -> None:
    """Measure all shapes."""
    scale = bench.scale.transports
    kinds = [kind for kind in KINDS if kind.protocol == "h2"]
    async with contest(kinds, {kind.name: speech.calls() for kind in kinds}, bench.cores) as contestants:
        for one in contestants:
            await one.open(max(connections for connections, _ in scale.unary), streams=False)
        for connections, at_once in scale.unary:
            name = f"unary, {connections} connections with {at_once} call{'s' * (at_once > 1)} each"
            bench.say(f"g: {name}")
            warm = scale.warm_messages
            calls: dict[Kind, int] = {}
            for one in contestants:
                first = await one.unary(connections, at_once, warm)
                calls[one.kind] = in_the_time(scale.seconds, warm, first)

            async def turn(
                one: Contestant,
                connections: int = connections,
                at_once: int = at_once,
                calls: dict[Kind, int] = calls,
            ) -> Round:
                return await one.unary(connections, at_once, calls[one.kind])

            found = await take_turns(contestants, scale.rounds, turn)
            case = cpu_row(name, found)
            table.cpu.append(case)
            table.generator.append(generator_row(name, found))
            table.targets.append(Target.of(f"{name}, to grpc.aio", "at most", TO_GRPCIO, to_grpcio(case)))
