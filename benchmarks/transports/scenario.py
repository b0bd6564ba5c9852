"""Scenario g: what the transports cost, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures import Scenario
from benchmarks.transports import echo, fan_out, idle, unary
from benchmarks.transports.event import EVENT_BYTES
from benchmarks.transports.table import Table

if TYPE_CHECKING:
    from benchmarks.scale import Bench

LETTER = "g"
TITLE = "Transports side by side"
SETTING = (
    "Servers that only carry messages, each in a process of its own on uvloop, pinned to the node's core "
    "with all its threads: parley_wire and grpc.aio behind Parley's stream seam, as in a node but without "
    "sessions and storage; grpc.aio, grpclib and websockets (no compression, its `broadcast` for fan-out) "
    "as their examples show them; and asyncio connections that are just written to, as the floor. Rounds "
    "take turns, each beginning with another kind; who has no turn rests. Each has a load generator of its "
    f"own, on the other core. Messages are bytes; an event has {EVENT_BYTES} bytes; events that leave in one "
    "write are one message, as an outbox joins them. Every message has a number: a connection that misses "
    "one, or gets one twice or out of order, fails the run.\n\n"
    "Figures in µs are the server's CPU, user and system, for each event, round trip, call or connection. "
    "Fan-out goes to everybody, and the next message is sent as soon as all have taken the one before; paced "
    "fan-out follows the generator's clock instead, and its latency counts from the moment when the event "
    "was due. A paced server rests most of the time, and pays each time it wakes, for its trigger too. "
    "Behind the figures stand, in each round, the CPU share of the least busy server and that of the busiest "
    "generator; the last tables have the generator's share for each kind. Where a target names grpc.aio, it "
    "is the cheaper one of the two in that round."
)


async def measure(bench: Bench) -> Scenario:
    """Measure all of it."""
    table = Table()
    for part in (fan_out, echo, unary, idle):
        await part.measure(bench, table)
    return Scenario(LETTER, TITLE, SETTING, table.cases, table.targets)
