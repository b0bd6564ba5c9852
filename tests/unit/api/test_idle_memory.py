"""What an idle session costs in memory, and what a node imports that it never needs."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from parley.chat.v1 import stream_pb2
from parley_runtime.settings import Limits
from parley_server.api.connect import ChatStream
from parley_server.backends.memory.feed import MemoryFeed
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.positions import MemoryPositions
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.backends.memory.routes import MemoryRoutes
from parley_server.chat.event import HistoryVisibility
from parley_server.testing.stream_world import Stores, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parley_runtime.refusal import Refusal

WARM, SESSIONS = 150, 400
SESSION_LIMIT_BYTES = 1700
"""Of a session without its transport and its token; 1,590 when this was written, and 4,910 the day before."""

NEVER_NEEDED = (
    "alembic",
    "sqlalchemy.orm",
    "sqlalchemy.ext.asyncio",
    "aiosqlite",
    "mako",
    "rich",
    "pygments",
    "textual",
    "typer",
)


class Taker:
    """A stream that takes everything."""

    __slots__ = ("metadata",)

    peer = "test"

    def __init__(self, metadata: dict[str, str]) -> None:
        self.metadata = metadata

    def send_encoded(self, message: bytes) -> bool:
        return True

    def close(self, refusal: Refusal | None) -> None:
        raise AssertionError(f"ended: {refusal}")


@pytest.fixture
def world() -> Iterator[World]:
    stores = Stores(MemoryMessageLog(), MemoryProjections(), MemoryPositions(), MemoryFeed, MemoryRoutes)
    world = World(stores, {"a": HistoryVisibility.FROM_JOINING}, limits=Limits())
    world.gates.open_all()
    world.write("a", "add")
    # It would remember where every task and callback was made.
    world.loop.set_debug(False)
    yield world
    world.close()


def _open(world: World, count: int) -> list[ChatStream]:
    hello = stream_pb2.ConnectRequest(hello=stream_pb2.Hello()).SerializeToString()
    heartbeat = stream_pb2.ConnectRequest(
        request_id=1, heartbeat=stream_pb2.HeartbeatRequest(foreground=True)
    ).SerializeToString()
    streams = []
    for _ in range(count):
        stream = ChatStream(world.services, subscribe=False)
        streams.append(stream)
        world.loop.spin(lambda stream=stream: stream.opened(Taker({"device": "phone"})))  # type: ignore[misc]
        for frame in (hello, heartbeat):
            world.loop.spin(lambda stream=stream, frame=frame: stream.received(frame))  # type: ignore[misc]
    # An event and a ping reach them: what is idle now was not always.
    world.write("a", "say")
    world.pass_time(30.0)
    return streams


def test_an_idle_session_costs_little(world: World) -> None:
    """Joined, heard, written to, pinged, and silent since. Planted: a deque as the queue, the set of running
    requests kept, the timer of Hello kept; each found by its bytes.
    """
    early = _open(world, WARM)
    gc.collect()
    tracemalloc.start()
    try:
        late = _open(world, SESSIONS)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(world.services.sessions) == len(early) + len(late)
    assert held / SESSIONS < SESSION_LIMIT_BYTES


def test_a_node_imports_nothing_that_it_never_needs() -> None:
    """Each of them takes megabytes for as long as the node lives. Planted: Alembic imported with the store,
    and SQLAlchemy's engine for asyncio, which brings its object mapper; found by their names.
    """
    code = (
        "import sys, parley_server.testing.serve, parley_server.serving;"
        f"print(*sorted(set({NEVER_NEEDED!r}) & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.split() == []
