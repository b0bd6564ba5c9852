"""The life of a stream, against a stand-in node: how it opens, is kept up, is replaced, ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import duration_pb2

import parley
from parley.chat.v1 import stream_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.sdk.conftest import Context, FakeNode

    Frames = AsyncIterator[stream_pb2.ConnectRequest]
    Answers = AsyncIterator[stream_pb2.ConnectResponse]


async def _all_of(stream: parley.EventStream) -> list[int]:
    return [event.seq async for event in stream]


async def test_a_stream_that_ends_is_followed_by_another_behind_the_last_event(node: FakeNode) -> None:
    """Not before the slot that the server gave, and with what the device has. Nothing comes twice.

    Planted: reconnect_after ignored; the seqs left out of the Hello; events of both streams handed out.
    """
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def stop(frames: Frames, context: Context) -> Answers:
        times.append(loop.time())
        yield node.welcome()
        if len(times) > 1:
            yield node.events(2, 4)
            await frames.__anext__()
            return
        yield node.events(1, 3)
        after = duration_pb2.Duration(nanos=700_000_000)
        reason = stream_pb2.GO_AWAY_REASON_NODE_STOPPING
        away = stream_pb2.GoAway(reason=reason, reconnect_after=after)
        yield stream_pb2.ConnectResponse(controls=[stream_pb2.Control(go_away=away)])
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the node is stopping")

    node.connect = stop
    seen: list[parley.ClientStatus] = []
    async with parley.connect(node.target, token="t", on_status=seen.append) as client:
        stream = client.events()
        async with asyncio.timeout(10):
            assert [(await anext(stream)).seq for _ in range(5)] == [1, 2, 3, 4, 5]
        assert times[1] - times[0] >= 0.7
        assert client.events() is stream
    assert [(known.channel_id, known.seq) for known in node.hellos[1].known_channels] == [("c", 3)]
    (waiting,) = [each for each in seen if each.phase is parley.Phase.WAITING]
    assert waiting.last_error is not None
    assert waiting.last_error.reason == "NODE_STOPPING"
    assert waiting.retry_in_seconds is not None
    assert waiting.retry_in_seconds >= 0.6
    assert seen[-1].phase is parley.Phase.ENDED


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (stream_pb2.GO_AWAY_REASON_DEVICE_REVOKED, parley.DeviceRevoked),
        (stream_pb2.GO_AWAY_REASON_ACCOUNT_SUSPENDED, parley.AccountSuspended),
    ],
)
async def test_what_only_the_user_can_mend_ends_the_iterator(
    node: FakeNode, reason: stream_pb2.GoAwayReason.ValueType, kind: type[parley.ParleyError]
) -> None:
    """After the events that came before, and again to whoever asks again. Planted: reconnecting for ever."""

    async def out(frames: Frames, context: Context) -> Answers:
        yield node.welcome()
        yield node.events(1, 3)
        yield stream_pb2.ConnectResponse(
            controls=[stream_pb2.Control(go_away=stream_pb2.GoAway(reason=reason))]
        )

    node.connect = out
    async with parley.connect(node.target, token="t") as client, asyncio.timeout(10):
        stream = client.events()
        assert [(await anext(stream)).seq for _ in range(3)] == [1, 2, 3]
        for _ in range(2):
            with pytest.raises(kind):
                await anext(stream)
        with pytest.raises(kind):
            await stream.ready()
        assert stream.ended
        assert client.status().phase is parley.Phase.ENDED
        assert client.events() is not stream


@pytest.mark.parametrize("how", ["ends", "falls silent", "breaks"])
async def test_a_stream_that_is_gone_is_replaced_however_it_went(node: FakeNode, how: str) -> None:
    """TCP may not tell for minutes that a server is silent. Planted: unanswered heartbeats ignored; OK taken
    for one's own closing.
    """
    streams = 0

    async def go(frames: Frames, context: Context) -> Answers:
        nonlocal streams
        streams += 1
        yield node.welcome(heartbeat_seconds=0.2)
        if streams == 1:
            if how == "breaks":
                await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
            if how == "falls silent":
                await asyncio.Event().wait()
            return
        yield node.events(1, 1)
        async for frame in frames:
            if frame.WhichOneof("request") == "goodbye":
                return
            yield node.answer(frame)

    node.connect = go
    errors = []
    async with (
        parley.connect(
            node.target,
            token="t",
            on_status=lambda now: errors.append(now.last_error.reason if now.last_error else ""),
        ) as client,
        asyncio.timeout(10),
    ):
        assert (await anext(client.events())).seq == 1
    expected = {"ends": "STREAM_ENDED", "falls silent": "NO_ANSWER", "breaks": "CONNECTION_LOST"}
    assert expected[how] in errors


async def test_a_server_that_knows_of_news_that_do_not_come_is_asked_again(node: FakeNode) -> None:
    """Two pings with a cursor that the stream never reaches. Planted: pings only answered; one enough."""
    streams = 0

    def ping(cursor: str) -> stream_pb2.ConnectResponse:
        return stream_pb2.ConnectResponse(controls=[stream_pb2.Control(ping=stream_pb2.Ping(cursor=cursor))])

    async def lose(frames: Frames, context: Context) -> Answers:
        nonlocal streams
        streams += 1
        yield node.welcome()
        yield stream_pb2.ConnectResponse(cursor="1")
        yield ping("2")
        if streams == 2:
            yield stream_pb2.ConnectResponse(cursor="2")
        yield ping("2")
        async for frame in frames:
            kind = frame.WhichOneof("request")
            if kind == "goodbye":
                return
            if kind == "pong" and streams == 2:
                yield node.events(1, 1)

    node.connect = lose
    async with parley.connect(node.target, token="t") as client, asyncio.timeout(10):
        assert (await anext(client.events())).seq == 1
    assert streams == 2
    assert [hello.cursor for hello in node.hellos] == ["none", "1"]


async def test_heartbeats_keep_a_quiet_stream(node: FakeNode) -> None:
    """Well before the interval ends. Planted: none sent; the answered one taken for unanswered."""
    beats = asyncio.Semaphore(0)

    async def count(frames: Frames, context: Context) -> Answers:
        yield node.welcome(heartbeat_seconds=0.1)
        async for frame in frames:
            if frame.WhichOneof("request") == "goodbye":
                return
            beats.release()
            yield node.answer(frame)

    node.connect = count
    async with parley.connect(node.target, token="t", foreground=True) as client:
        stream = client.events()
        async with asyncio.timeout(10):
            for _ in range(5):
                await beats.acquire()
        assert not stream.ended
    assert all(beat.foreground for beat in node.called("stream Heartbeat"))


async def test_leaving_ends_the_iterator_without_an_error(node: FakeNode) -> None:
    """Closing is no failure. Planted: Disconnected raised for one's own goodbye."""
    async with parley.connect(node.target, token="t") as client:
        stream = client.events()
        reader = asyncio.create_task(_all_of(stream))
        await stream.ready()
        assert client.events() is stream
        await stream.aclose()
        assert await reader == []
        assert stream.ended
        again = client.events()
        assert again is not stream
        await again.ready()
        reader = asyncio.create_task(_all_of(again))
        await asyncio.sleep(0)
    assert await reader == []
    assert node.goodbyes == 2


@pytest.mark.parametrize("when", ["before it opens", "while it is refused", "mute"])
async def test_leaving_is_quick_whatever_the_server_does(node: FakeNode, when: str) -> None:
    """Ctrl-C is at most a few seconds away. Planted: waiting for the server's answer without a bound."""
    reached = asyncio.Event()

    async def stubborn(frames: Frames, context: Context) -> Answers:
        reached.set()
        if when == "while it is refused":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        if when == "mute":
            yield node.welcome()
        await asyncio.Event().wait()

    node.connect = stubborn
    async with asyncio.timeout(12):
        async with parley.connect(node.target, token="t") as client:
            stream = client.events()
            if when != "before it opens":
                await reached.wait()
            if when == "mute":
                await stream.ready()
        assert stream.ended
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("parley ")] == []


async def test_a_stream_that_cannot_open_now_is_tried_again(node: FakeNode) -> None:
    """As unary calls are. Planted: the first refusal raised."""
    tries = 0

    async def later(frames: Frames, context: Context) -> Answers:
        nonlocal tries
        tries += 1
        if tries < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        async for answer in node.serve_stream(frames, context):
            yield answer

    node.connect = later
    async with parley.connect(node.target, token="t") as client:
        await client.events().ready()
    assert tries == 3


async def test_the_reason_of_a_refusal_is_never_lost(node: FakeNode) -> None:
    """grpc.aio hides it when a write fails. Planted: the status read after the end."""
    node.access_tokens = set()
    async with parley.connect(node.target, token="t") as client:
        for _ in range(100):
            with pytest.raises(parley.TokenExpired):
                await client.events().ready()


async def test_an_expired_token_is_renewed_before_the_stream(node: FakeNode) -> None:
    """Planted: TOKEN_EXPIRED raised to the reader."""
    node.now_seconds = 4_000_000_000
    tokens = node.tokens()
    node.access_tokens = set()
    async with parley.connect(node.target, token=tokens) as client:
        await client.events().ready()
    assert len(node.called("Refresh")) == 1


async def test_a_defect_of_the_client_is_raised_not_hung(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that dies silently is the worst. Planted: exceptions other than ParleyError swallowed."""

    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("parley._session.Session.received", broken)
    async with parley.connect(node.target, token="t") as client:
        with pytest.raises(ZeroDivisionError):
            await anext(client.events())
        assert (await client.channel("c").send("x")).seq == 1
