"""Whether connections and streams that come and go leave memory where it was.

`python -m benchmarks.transports.churn --connections 100000 --streams 1000000`: connections with a stream each
are opened and closed in turn over many loopback addresses, then short streams run on 100 connections. Exit
code 1 if memory grew by more than 5 %, or something went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from benchmarks.machine import Cores, MachineUnfit
from benchmarks.parties import GeneratorFailed
from benchmarks.transports import speech
from benchmarks.transports.contestant import Contestant
from benchmarks.transports.kind import WIRE

WARM_UP = 20_000
CONNECTIONS_AT_ONCE = 50
ADDRESSES = 50_000
STREAM_CONNECTIONS = 100
STREAMS_AT_ONCE = 10
GROWTH = 1.05
LIMIT_SECONDS = 1800.0


async def run(connections: int, streams: int) -> bool:
    """Print what was found. True if memory is where it was."""
    said = speech.stream_and_calls()
    async with Contestant.enter(WIRE, said, Cores.divide(), addresses=ADDRESSES) as wire:

        async def open_and_close(count: int) -> None:
            one = await wire.churn(count, CONNECTIONS_AT_ONCE, LIMIT_SECONDS)
            each = one.node_cpu_seconds / count * 1e6
            print(f"{count:,} connections opened and closed in {one.seconds:.0f} s, {each:.0f} µs each")

        async def call(count: int) -> None:
            one = await wire.unary(STREAM_CONNECTIONS, STREAMS_AT_ONCE, count, LIMIT_SECONDS)
            each = one.node_cpu_seconds / count * 1e6
            print(f"{count:,} streams in {one.seconds:.0f} s, {each:.0f} µs each", flush=True)

        await wire.open(STREAM_CONNECTIONS)
        await open_and_close(WARM_UP)
        await call(WARM_UP)
        before = wire.resident_bytes
        await open_and_close(connections)
        between = wire.resident_bytes
        await call(streams)
        after = wire.resident_bytes
    kept = max(between, after) <= before * GROWTH
    print(
        f"resident: {before / 1e6:.1f} MB before, {between / 1e6:.1f} after the connections, "
        f"{after / 1e6:.1f} after the streams: {'ok' if kept else 'MISSED'} (at most {GROWTH:.0%})"
    )
    return kept


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--streams", type=int, default=1_000_000)
    options = parser.parse_args()
    try:
        return 0 if asyncio.run(run(options.connections, options.streams)) else 1
    except (MachineUnfit, GeneratorFailed) as error:
        print(f"churn: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
