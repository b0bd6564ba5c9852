"""What a program is handed and what of it is stored, against a stand-in node."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import parley
from parley.chat.v1 import event_pb2, stream_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.sdk.conftest import Context, FakeNode

    Frames = AsyncIterator[stream_pb2.ConnectRequest]
    Answers = AsyncIterator[stream_pb2.ConnectResponse]


async def _until_goodbye(node: FakeNode, frames: Frames) -> None:
    async for frame in frames:
        if frame.WhichOneof("request") == "goodbye":
            return
        node.answer(frame)


async def test_only_what_was_acknowledged_is_stored(node: FakeNode) -> None:
    """What was given and not acknowledged comes again. Planted once: acknowledged when handed out; the cursor
    stored when its frame came.
    """

    async def five(frames: Frames, context: Context) -> Answers:
        yield node.welcome()
        yield stream_pb2.ConnectResponse(cursor="before")
        for seq in range(1, 6):
            yield stream_pb2.ConnectResponse(events=[node.event("c", seq)], cursor=f"after {seq}")
        await _until_goodbye(node, frames)

    node.connect = five
    state = parley.MemoryState()
    async with asyncio.timeout(10):
        async with parley.connect(node.target, token="t", state=state) as client:
            stream = client.events()
            seen = [(await anext(stream)).seq for _ in range(3)]  # The third is not acknowledged.
        async with parley.connect(node.target, token="t", state=state) as client:
            stream = client.events()
            stream.acknowledges = False
            events = [await anext(stream) for _ in range(3)]
            seen += [event.seq for event in events]
            await events[1].ack()  # Does not count before the one before it.
            events[0].ack()
            await events[0].ack()
        async with parley.connect(node.target, token="t", state=state) as client:
            seen.append((await anext(client.events())).seq)
    assert seen == [1, 2, 3, 3, 4, 5, 5]
    assert [hello.cursor for hello in node.hellos] == ["none", "after 2", "after 4"]
    assert [[known.seq for known in hello.known_channels] for hello in node.hellos] == [[], [2], [4]]
    assert node.acknowledged[-1] == "after 4"


async def test_an_event_of_a_newer_server_is_kept_as_it_is_and_counts(node: FakeNode) -> None:
    """Planted once: such events dropped, so that the seq stood still."""
    wire = event_pb2.Event(channel_id="c", seq=2, message_no=1).SerializeToString() + b"\xda\x01\x03abc"

    async def newer(frames: Frames, context: Context) -> Answers:
        yield node.welcome()
        yield stream_pb2.ConnectResponse(events=[node.event("c", 1)])
        yield stream_pb2.ConnectResponse(events=[event_pb2.Event.FromString(wire)])
        yield stream_pb2.ConnectResponse(events=[node.event("c", 3)])
        await _until_goodbye(node, frames)

    node.connect = newer
    async with parley.connect(node.target, token="t") as client, asyncio.timeout(10):
        stream = client.events()
        events = [await anext(stream) for _ in range(3)]
    assert [event.seq for event in events] == [1, 2, 3]
    assert isinstance(events[1], parley.UnknownEvent)
    assert events[1].raw.SerializeToString() == wire


async def test_a_hole_is_fetched_before_anything_after_it(node: FakeNode) -> None:
    """In pages, while live events go on. Planted once: events after the hole handed out first."""
    node.head_seq = 230

    async def leap(frames: Frames, context: Context) -> Answers:
        yield node.welcome()
        yield stream_pb2.ConnectResponse(events=[node.event("c", 1)])
        for seq in (200, 201, 230):
            yield stream_pb2.ConnectResponse(events=[node.event("c", seq)])
        await _until_goodbye(node, frames)

    node.connect = leap
    async with parley.connect(node.target, token="t") as client, asyncio.timeout(10):
        stream = client.events()
        assert [(await anext(stream)).seq for _ in range(230)] == list(range(1, 231))


async def test_a_store_that_fails_ends_the_stream(node: FakeNode) -> None:
    """Going on would hand out what cannot be remembered. Planted once: the error swallowed."""

    class Full(parley.MemoryState):
        async def save_position(self, seqs: object, cursor: str) -> None:
            raise parley.StateError("disk full")

    async def one(frames: Frames, context: Context) -> Answers:
        yield node.welcome()
        yield stream_pb2.ConnectResponse(cursor="1")
        await _until_goodbye(node, frames)

    node.connect = one
    async with asyncio.timeout(10):
        client = parley.connect(node.target, token="t", state=Full())
        try:
            await anext(client.events())
        except parley.StateError as error:
            assert str(error) == "disk full"
        else:
            raise AssertionError("an event without a store")
        await client.aclose()
