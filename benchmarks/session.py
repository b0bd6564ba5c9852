"""The hot path alone: what it costs a node's loop to hand an event to a session and write its frame.

`python benchmarks/session.py`; with `--lagging N` only the memory of N sessions that lag, in KiB each. No
transport, no store: `DeviceStream`s that only count. Figures are the best of several rounds, since this is
about the code and not about the machine.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from parley.chat.v1 import stream_pb2
from parley_runtime.settings import Limits
from parley_server.api.connect import ChatStream
from parley_server.backends.memory.feed import MemoryFeed
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.positions import MemoryPositions
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.backends.memory.routes import MemoryRoutes
from parley_server.chat import codec
from parley_server.chat.audience import Audience
from parley_server.chat.event import HistoryVisibility
from parley_server.chat.framing import event_field
from parley_server.testing.stream_world import USER, Stores, World

if TYPE_CHECKING:
    from parley_runtime.refusal import Refusal

SESSIONS = 1000
DELIVERIES = 30
ROUNDS = 7
EVENT_BYTES = 300
LAGGING_EVENTS = 600


class Sink:
    """A stream that takes everything. `slow`: one frame at a time, as grpc.aio does."""

    def __init__(self, device_id: str, *, slow: bool) -> None:
        self.metadata = {"device": device_id}
        self.peer = "benchmark"
        self.frames = 0
        self._slow = slow

    def send_encoded(self, message: bytes) -> bool:
        self.frames += 1
        return not self._slow

    def close(self, refusal: Refusal | None) -> None:
        raise AssertionError(f"ended: {refusal}")


def _world(sessions: int, *, slow: bool) -> tuple[World, list[tuple[ChatStream, Sink]]]:
    stores = Stores(MemoryMessageLog(), MemoryProjections(), MemoryPositions(), MemoryFeed, MemoryRoutes)
    world = World(stores, {"a": HistoryVisibility.FROM_JOINING}, limits=Limits())
    world.gates.open_all()
    world.write("a", "add")
    streams: list[tuple[ChatStream, Sink]] = []
    hello = stream_pb2.ConnectRequest(hello=stream_pb2.Hello()).SerializeToString()
    for number in range(sessions):
        stream, sink = ChatStream(world.services, subscribe=False), Sink(str(number), slow=slow)
        world.loop.spin(lambda stream=stream, sink=sink: stream.opened(sink))  # type: ignore[misc]
        world.loop.spin(lambda stream=stream: stream.received(hello))  # type: ignore[misc]
        for _ in range(4 if slow else 0):
            world.loop.spin(stream.writable)
        streams.append((stream, sink))
    world.loop.spin()
    return world, streams


def measure(batch: int, *, slow: bool) -> float:
    """Microseconds per event and session, for batches of so many events."""
    world, streams = _world(SESSIONS, slow=slow)
    seq, position = len(world.writers["a"].events) + 1, 2
    field = event_field(b"x" * EVENT_BYTES)
    audience = Audience({USER}, {})
    best = float("inf")

    def deliver() -> None:
        nonlocal seq, position, best
        started = time.perf_counter()
        for _ in range(DELIVERIES):
            world.hub.deliver("a", seq, [field] * batch, audience, {USER: position})
            seq, position = seq + batch, position + 1
            if slow:
                for stream, _ in streams:
                    stream.writable()
        best = min(best, time.perf_counter() - started)

    for _ in range(ROUNDS):
        before = sum(sink.frames for _, sink in streams)
        world.loop.spin(deliver)
        frames = sum(sink.frames for _, sink in streams) - before
        assert frames == SESSIONS * DELIVERIES, frames
    world.close()
    return best / (SESSIONS * DELIVERIES * batch) * 1e6


def lagging_kib(sessions: int) -> float:
    """KiB of Python memory that a session holds whose client takes nothing, beyond what it held before."""
    world, streams = _world(sessions, slow=True)
    gc.collect()
    tracemalloc.start()
    for _ in range(LAGGING_EVENTS):
        # Through the log: what lags reads from there.
        world.write("a", "say")
    gc.collect()
    logged = sum(len(codec.encode(event)) for event in world.writers["a"].events) / 1024
    held = tracemalloc.get_traced_memory()[0] / 1024
    tracemalloc.stop()
    assert all(stream.droppable_bytes == 0 for stream, _ in streams), "not all lag"
    world.close()
    return (held - logged) / sessions


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lagging", type=int, metavar="N", help="only the memory of N sessions that lag")
    options = parser.parse_args()
    if options.lagging:
        print(lagging_kib(options.lagging))
        return
    for slow in (False, True):
        kind = "one frame at a time" if slow else "takes everything"
        for batch in (1, 10):
            microseconds = measure(batch, slow=slow)
            print(f"{kind:20} batches of {batch:2}: {microseconds:6.2f} µs per event and session")
    print(f"a session that lags holds {lagging_kib(SESSIONS):.1f} KiB more, after {LAGGING_EVENTS} events")


if __name__ == "__main__":
    main()
