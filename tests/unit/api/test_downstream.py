"""The server's half of a stream, over stores in memory."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING

import pytest

from parley.chat.v1 import stream_pb2
from parley_runtime.refusal import Reason, Refusal
from parley_server.api.connect import ChatStream
from parley_server.backends.memory.feed import MemoryFeed
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.positions import MemoryPositions
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.backends.memory.routes import MemoryRoutes
from parley_server.testing.stream_world import Stores, World

if TYPE_CHECKING:
    from collections.abc import Iterator

HELLO = stream_pb2.ConnectRequest(hello=stream_pb2.Hello()).SerializeToString()


class Taker:
    """A stream that takes everything, and remembers how it was closed."""

    peer = "test"

    def __init__(self) -> None:
        self.metadata = {"device": "phone"}
        self.closed: list[Refusal | None] = []

    def send_encoded(self, message: bytes) -> bool:
        return True

    def close(self, refusal: Refusal | None) -> None:
        self.closed.append(refusal)


@pytest.fixture
def world() -> Iterator[World]:
    stores = Stores(MemoryMessageLog(), MemoryProjections(), MemoryPositions(), MemoryFeed, MemoryRoutes)
    world = World(stores, {})
    world.gates.open_all()
    yield world
    world.close()


def test_a_stream_that_ends_before_its_work_began_leaves_nothing_behind(world: World) -> None:
    """As with two Hellos in one packet. Planted: the work was made before its task ran, and Python warned, on
    the server's standard error, of a coroutine that was never awaited.
    """
    taker, stream = Taker(), ChatStream(world.services, subscribe=False)

    def two_hellos() -> None:
        stream.opened(taker)
        stream.received(HELLO)
        stream.received(HELLO)

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        world.loop.spin(two_hellos)
        gc.collect()
    assert [str(each.message) for each in warned] == []
    assert [refusal and refusal.reason for refusal in taker.closed] == [Reason.HELLO_REPEATED]
