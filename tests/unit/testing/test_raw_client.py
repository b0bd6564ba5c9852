"""The raw client writes what tests give it: all of it, in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from parley_server.testing.raw_client import RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FRAMES = 60


class Listening:
    """A node that only writes down the frames of one stream, and ends it after so many."""

    def __init__(self) -> None:
        self.address = ""
        self.frames: list[bytes] = []

    async def connect(self, frames: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for frame in frames:
            self.frames.append(frame)
            if len(self.frames) == FRAMES:
                return
        yield b""


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    node = Listening()
    server = grpc.aio.server()
    handler: Any = grpc.stream_stream_rpc_method_handler(node.connect)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("parley.chat.v1.ChatService", {"Connect": handler}),)
    )
    node.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield node
    await server.stop(grace=0)


async def test_frames_that_are_given_at_once_all_arrive_in_order(listening: Listening) -> None:
    """Of 100 KB each, so that they wait for one another. Planted once: no lock; frames were lost."""
    async with RawClient(listening.address) as client:
        stream = client.open(())
        frames = [bytes([number]) * 100_000 for number in range(FRAMES)]
        async with asyncio.timeout(20):
            await asyncio.gather(*(stream.send_bytes(frame) for frame in frames))
            await stream.end()
    assert listening.frames == frames
