"""One event to many streams: as fast as they are taken, and at a pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures import Figure, Target
from benchmarks.transports import speech
from benchmarks.transports.contestant import contest
from benchmarks.transports.kind import KINDS, WIRE
from benchmarks.transports.rounds import (
    cpu_row,
    generator_row,
    in_the_time,
    latency_rows,
    take_turns,
    to_grpcio,
    to_tcp,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.figures import Case
    from benchmarks.parties import Round
    from benchmarks.scale import Bench
    from benchmarks.transports.contestant import Contestant
    from benchmarks.transports.table import Table

TO_TCP = 1.6
TO_GRPCIO = 0.35
COALESCED_PER_SECOND = 1_000_000.0


async def measure(bench: Bench, table: Table) -> None:
    """Measure all sizes."""
    scale = bench.scale.transports
    speeches = {kind.name: speech.stream(kind.protocol, speech.SUBSCRIBE) for kind in KINDS}
    for connections in scale.fan_out_connections:
        async with contest(KINDS, speeches, bench.cores) as contestants:
            for one in contestants:
                await one.open(connections)
            for events in scale.fan_out_events:
                await _saturated(bench, table, contestants, connections, events)
            for size, group in scale.paced:
                if size == connections:
                    await _paced(bench, table, contestants, connections, group)


async def _saturated(
    bench: Bench, table: Table, contestants: Sequence[Contestant], connections: int, events: int
) -> None:
    scale = bench.scale.transports
    name = f"fan-out to {connections}, {_many(events)} per write"
    bench.say(f"g: {name}")
    warm_ticks = max(2, scale.warm_deliveries // connections)
    ticks = {
        one.kind: in_the_time(scale.seconds, warm_ticks, await one.fan_out(warm_ticks, events))
        for one in contestants
    }

    async def turn(one: Contestant) -> Round:
        return await one.fan_out(ticks[one.kind], events)

    found = await take_turns(contestants, scale.rounds, turn)
    case = cpu_row(name, found, events)
    table.cpu.append(case)
    table.generator.append(generator_row(name, found))
    _judge(table, name, case)
    if events == scale.coalesced_events:
        speed = Figure.of("speed", "1/s", (1e6 / value for value in case.figure(WIRE.name).rounds))
        table.targets.append(Target.of(f"events/s/core, {name}", "at least", COALESCED_PER_SECOND, speed))


async def _paced(
    bench: Bench, table: Table, contestants: Sequence[Contestant], connections: int, group: int
) -> None:
    scale = bench.scale.transports
    per_second = scale.paced_per_second
    to = f"all {connections}" if group == connections else f"{group} of {connections}"
    name = f"paced, {per_second:,.0f} deliveries/s, each event to {to}"
    bench.say(f"g: {name}")

    async def turn(one: Contestant) -> Round:
        return await one.pace(group, per_second, scale.paced_seconds)

    for one in contestants:
        await one.pace(group, per_second, scale.paced_seconds / 5)
    found = await take_turns(contestants, scale.rounds, turn)
    case = cpu_row(name, found)
    table.cpu.append(case)
    table.latency += latency_rows(name, found)
    table.generator.append(generator_row(name, found))
    if group == connections:
        _judge(table, name, case)


def _judge(table: Table, name: str, case: Case) -> None:
    table.targets += [
        Target.of(f"{name}, to bare TCP", "at most", TO_TCP, to_tcp(case)),
        Target.of(f"{name}, to grpc.aio", "at most", TO_GRPCIO, to_grpcio(case)),
    ]


def _many(events: int) -> str:
    return "1 event" if events == 1 else f"{events} events"
