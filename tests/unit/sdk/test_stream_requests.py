"""Requests over the open stream, against a stand-in node: their replies, their number, and the way around."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest

import parley
from parley.chat.v1 import stream_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.sdk.conftest import Context, FakeNode

    Frames = AsyncIterator[stream_pb2.ConnectRequest]
    Answers = AsyncIterator[stream_pb2.ConnectResponse]


async def test_requests_go_over_the_open_stream(node: FakeNode) -> None:
    """Cheaper than calls of their own. Planted: always unary."""
    async with parley.connect(node.target, token="t") as client:
        await client.events().ready()
        channel = client.channel("c")
        sent = await asyncio.gather(*(channel.send(str(number)) for number in range(100)))
        position = await channel.mark_read(7)
    assert position == parley.ReadPosition(7, 0)
    assert node.called("SendMessage") == []
    requests = {request.client_message_id: request.text for request in node.called("stream SendMessage")}
    assert [requests[each.client_message_id] for each in sent] == [str(number) for number in range(100)]
    assert [each.seq for each in sent] == list(range(1, 101))
    assert node.goodbyes == 1


async def test_never_more_in_flight_than_the_server_allows(node: FakeNode) -> None:
    """Two below its limit, and each caller gets its own reply, in whatever order they come.

    Planted: no bound, which the server answers with TOO_MANY_IN_FLIGHT; replies given to the oldest caller.
    """
    three, go_on = asyncio.Event(), asyncio.Event()

    async def slow_answers(frames: Frames, context: Context) -> Answers:
        yield node.welcome(in_flight=5)
        waiting: list[stream_pb2.ConnectRequest] = []
        async for frame in frames:
            if frame.WhichOneof("request") == "goodbye":
                return
            waiting.append(frame)
            if len(waiting) == 3:
                three.set()
                await go_on.wait()
                for each in reversed(waiting):
                    yield node.answer(each)
                waiting.clear()

    node.connect = slow_answers
    async with parley.connect(node.target, token="t") as client:
        stream = client.events()
        await stream.ready()
        sending = asyncio.gather(*(client.channel(f"c{number % 10}").send("x") for number in range(30)))
        await three.wait()
        assert stream._follower.stream is not None
        assert stream._follower.stream.session.in_flight == 3
        go_on.set()
        sent = await sending
    assert {each.client_message_id: each.seq for each in sent} == node.written
    assert len(node.written) == 30
    assert node.called("SendMessage") == []


async def test_an_error_in_a_reply_is_raised_and_the_stream_goes_on(node: FakeNode) -> None:
    """Same errors as unary calls. Planted: an error that ends the stream."""

    async def refuse_empty(frames: Frames, context: Context) -> Answers:
        yield node.welcome()
        async for frame in frames:
            if frame.WhichOneof("request") == "goodbye":
                return
            if frame.send_message.text:
                yield node.answer(frame)
                continue
            error = node.status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
            yield stream_pb2.ConnectResponse(
                replies=[stream_pb2.Reply(request_id=frame.request_id, error=error)]
            )

    node.connect = refuse_empty
    async with parley.connect(node.target, token="t") as client:
        await client.events().ready()
        with pytest.raises(parley.InvalidField):
            await client.channel("c").send("")
        assert (await client.channel("c").send("x")).seq == 1
        assert not client.events().ended
        assert node.called("SendMessage") == []


async def test_a_message_whose_stream_is_cut_is_sent_again_with_its_id(node: FakeNode) -> None:
    """It may have been written: the same id finds out. Planted: the caller left waiting for the reply."""

    async def write_and_cut(frames: Frames, context: Context) -> Answers:
        yield node.welcome()
        async for frame in frames:
            node.answer(frame)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")

    node.connect = write_and_cut
    async with parley.connect(node.target, token="t") as client:
        stream = client.events()
        await stream.ready()
        async with asyncio.timeout(8):  # Less than one attempt may take.
            sent = await client.channel("c").send("hello")
        assert sent.duplicate
    (again,) = node.called("SendMessage")
    assert again == node.called("stream SendMessage")[0]


async def test_a_slow_reader_holds_a_bounded_number_and_can_still_send(node: FakeNode) -> None:
    """Requests go by calls meanwhile; reading on brings every event, in order.

    Planted: no bound; the requests in flight left waiting for replies that are not read.
    """
    asked = asyncio.Event()
    total = 20_000

    async def flood(frames: Frames, context: Context) -> Answers:
        yield node.welcome()
        frame = await anext(frames)
        asked.set()
        for start in range(1, total, 100):
            yield node.events(start, 100)
        yield node.answer(frame)
        async for frame in frames:
            if frame.WhichOneof("request") == "goodbye":
                return

    node.connect = flood
    async with parley.connect(node.target, token="t") as client:
        stream = client.events()
        await stream.ready()
        async with asyncio.timeout(8):  # Less than one attempt may take.
            sent = await client.channel("c").send("hello")
        assert asked.is_set()
        assert len(node.called("SendMessage")) == 1
        assert sent.seq == 1
        assert client.status().waiting_events < 2_000
        seen = [(await anext(stream)).seq for _ in range(total)]
        assert seen == list(range(1, total + 1))
        assert not stream.ended


async def test_a_request_that_the_stream_does_not_answer_goes_by_a_call(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something holds the stream up, not the server. Planted: every repetition on the same stream."""

    async def mute(frames: Frames, context: Context) -> Answers:
        yield node.welcome()
        async for frame in frames:
            if frame.WhichOneof("request") == "goodbye":
                return
            node.answer(frame)

    node.connect = mute
    monkeypatch.setattr("parley._link._ATTEMPT_SECONDS", 0.2)
    async with parley.connect(node.target, token="t", timeout_seconds=5.0) as client:
        await client.events().ready()
        sent = await client.channel("c").send("hello")
        assert sent.duplicate
        assert not client.events().ended
    assert len(node.called("stream SendMessage")) == 1
