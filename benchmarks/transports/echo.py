"""Round trips on streams, one in flight on each connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.transports import speech
from benchmarks.transports.contestant import contest
from benchmarks.transports.kind import KINDS
from benchmarks.transports.rounds import cpu_row, generator_row, in_the_time, latency_rows, take_turns

if TYPE_CHECKING:
    from benchmarks.parties import Round
    from benchmarks.scale import Bench
    from benchmarks.transports.contestant import Contestant
    from benchmarks.transports.kind import Kind
    from benchmarks.transports.table import Table


async def measure(bench: Bench, table: Table) -> None:
    """Measure all sizes."""
    scale = bench.scale.transports
    speeches = {kind.name: speech.stream(kind.protocol, speech.ECHO) for kind in KINDS}
    async with contest(KINDS, speeches, bench.cores) as contestants:
        for one in contestants:
            # Echoing handlers of grpcio and grpclib do not join the crowd.
            await one.open(max(scale.echo_connections), streams=False)
        for connections in scale.echo_connections:
            name = f"echo, {connections} connection{'s' * (connections > 1)}"
            bench.say(f"g: {name}")
            warm = scale.warm_messages
            messages = {
                one.kind: in_the_time(scale.seconds, warm, await one.echo(connections, warm))
                for one in contestants
            }

            async def turn(
                one: Contestant, connections: int = connections, messages: dict[Kind, int] = messages
            ) -> Round:
                return await one.echo(connections, messages[one.kind])

            found = await take_turns(contestants, scale.rounds, turn)
            table.cpu.append(cpu_row(name, found))
            table.latency += latency_rows(name, found)
            table.generator.append(generator_row(name, found))
