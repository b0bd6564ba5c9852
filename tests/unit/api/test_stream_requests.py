"""Requests of one stream, with calls that answer when the test says so."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley_runtime.metrics import Metrics
from parley_runtime.refusal import Reason, Refusal
from parley_runtime.settings import Limits
from parley_server.api.stream_requests import StreamRequests
from parley_server.chat.command import Done
from parley_server.ports.message_log import StoreUnavailable
from parley_server.ports.positions import FeedCursor

if TYPE_CHECKING:
    from parley_server.accounts.caller import Caller


class Calls:
    """Queues messages and edits in the order of their coming; `stores` hold up those that they name."""

    def __init__(self) -> None:
        self.queued: list[str] = []
        self.answers: dict[str, asyncio.Future[Done]] = {}
        self.stores: dict[str, asyncio.Future[None]] = {}

    async def post(
        self, _caller: Caller, request: message_requests_pb2.SendMessageRequest
    ) -> asyncio.Future[Done]:
        return await self._queue(request.text)

    def posts_at_once(self, _caller: Caller, request: message_requests_pb2.SendMessageRequest) -> bool:
        return request.text not in self.stores

    def check_cursor(self, _caller: Caller, request: message_requests_pb2.AckEventsRequest) -> FeedCursor:
        return FeedCursor("e", int(request.cursor))

    def heartbeat(self) -> stream_pb2.HeartbeatResponse:
        return stream_pb2.HeartbeatResponse()

    async def change(
        self, _caller: Caller, request: message_requests_pb2.EditMessageRequest
    ) -> asyncio.Future[Done]:
        return await self._queue(request.text)

    async def _queue(self, text: str) -> asyncio.Future[Done]:
        if text in self.stores:
            # As stores do: it needs a task.
            async with asyncio.timeout(60):
                await self.stores[text]
        if text == "refused":
            raise Refusal(Reason.CHANNEL_NOT_FOUND, "no")
        if text == "broken":
            raise KeyError(text)
        self.queued.append(text)
        return self.answers.setdefault(text, asyncio.get_running_loop().create_future())


class Rates:
    """As often as anybody likes, but for what is used up."""

    def __init__(self) -> None:
        self.answers_at_once = True
        self.taken: list[tuple[str, str]] = []
        self.used_up: set[str] = set()

    async def take(self, name: str, who: str) -> None:
        if not self.answers_at_once:
            await asyncio.sleep(0)
        self.taken.append((name, who))
        if name in self.used_up:
            raise Refusal(Reason.RATE_LIMITED, "later", retry_after_seconds=2.5)


class Client:
    """The stream's end that takes answers."""

    epoch = "e"

    def __init__(self) -> None:
        self.replies: list[tuple[int, str]] = []
        self.idle = 0
        self.ended: list[Refusal | None] = []

    def reply(self, reply: stream_pb2.Reply) -> None:
        self.replies.append((reply.request_id, reply.WhichOneof("result") or ""))

    def answered_all(self) -> None:
        self.idle += 1

    def touch(self, *, foreground: bool | None) -> None:
        return

    def end(self, refusal: Refusal | None) -> None:
        self.ended.append(refusal)


class World:
    def __init__(self, **limits: int) -> None:
        self.calls, self.client = Calls(), Client()
        self.metrics, self.rates = Metrics(), Rates()
        services = SimpleNamespace(
            calls=self.calls,
            limits=Limits(**limits),
            rates=self.rates,
            metrics=self.metrics,
            new_error_id=lambda: "error",
        )
        caller = cast("Caller", SimpleNamespace(user_id="ann", device_id="d"))
        self.requests = StreamRequests(cast("Any", services), caller, cast("Any", self.client))

    def send(self, request_id: int, text: str) -> None:
        message = message_requests_pb2.SendMessageRequest(channel_id="c", text=text)
        self.requests.submit(stream_pb2.ConnectRequest(request_id=request_id, send_message=message), 10)

    def edit(self, request_id: int, text: str) -> None:
        message = message_requests_pb2.EditMessageRequest(channel_id="c", text=text)
        self.requests.submit(stream_pb2.ConnectRequest(request_id=request_id, edit_message=message), 10)

    def say(self, request_id: int = 0, **request: Any) -> None:
        self.requests.submit(stream_pb2.ConnectRequest(request_id=request_id, **request), 10)

    def commit(self, text: str) -> None:
        self.calls.answers[text].set_result(Done(1, 1, 1, duplicate=False))


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_message_is_queued_at_once_and_answered_after_its_commit() -> None:
    """No tick passes before it has its place in the channel's queue. Planted: answering when it was queued
    told the client of a message that no disk had.
    """
    world = World()
    world.send(1, "a")
    assert world.calls.queued == ["a"]
    await settle()
    assert world.client.replies == []
    assert (world.requests.in_flight, world.client.idle) == (1, 0)
    world.commit("a")
    await settle()
    assert world.client.replies == [(1, "send_message")]
    assert (world.requests.in_flight, world.client.idle) == (0, 1)
    assert world.metrics.counts.stream_requests == {("send_message", "OK"): 1}


async def test_messages_and_changes_of_a_stream_keep_their_order() -> None:
    """Whatever asks a store first holds up what comes behind it, in a task or not.

    Planted: with messages queued at once while something is being served, they overtook it; without a task
    for those that ask a store, the store failed them.
    """
    world = World()
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
    world.calls.stores = {"a": first, "c": second}
    world.send(1, "a")
    world.send(2, "b")
    await settle()
    world.edit(3, "c")
    world.send(4, "d")
    await settle()
    assert world.calls.queued == []
    first.set_result(None)
    await settle()
    world.send(5, "e")
    assert world.calls.queued == ["a", "b"]
    second.set_result(None)
    await settle()
    assert world.calls.queued == ["a", "b", "c", "d", "e"]
    for text in reversed("abcde"):
        world.commit(text)
        await settle()
    assert sorted(request_id for request_id, _ in world.client.replies) == [1, 2, 3, 4, 5]
    assert (world.requests.in_flight, world.client.idle) == (0, 1)
    world.send(6, "f")
    assert world.calls.queued[-1] == "f"


async def test_every_failure_is_answered() -> None:
    """At once, after a store was asked, or with the commit; and each is counted under its code."""
    world = World()
    world.send(1, "refused")
    world.send(2, "broken")
    assert world.client.replies == [(1, "error"), (2, "error")]
    store = asyncio.get_running_loop().create_future()
    world.calls.stores = {"later": store}
    world.send(3, "later")
    store.set_exception(StoreUnavailable("down"))
    await settle()
    world.send(4, "a")
    world.calls.answers["a"].set_exception(Refusal(Reason.STORE_UNAVAILABLE, "unknown"))
    await settle()
    assert [reply for _, reply in world.client.replies] == ["error"] * 4
    assert world.metrics.counts.stream_requests == {
        ("send_message", "NOT_FOUND"): 1,
        ("send_message", "INTERNAL"): 1,
        ("send_message", "UNAVAILABLE"): 2,
    }


async def test_messages_that_wait_for_their_commit_are_bounded() -> None:
    """As all requests are. Planted: without counting those without a task any number could wait."""
    world = World(requests_in_flight=2)
    for number in range(3):
        world.send(number + 1, "abc"[number])
    assert world.client.replies == [(3, "error")]
    world.commit("a")
    await settle()
    world.send(4, "d")
    assert world.calls.queued == ["a", "b", "d"]


@pytest.mark.parametrize("fails", [False, True])
async def test_after_the_end_nothing_is_answered(fails: bool) -> None:
    """And a failure that nobody is told of is no error of the server. Planted: leaving at once, without
    looking at it, had asyncio log that it was never retrieved.
    """
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    world = World()
    world.send(1, "a")
    world.requests.cancel()
    if fails:
        world.calls.answers["a"].set_exception(Refusal(Reason.STORE_UNAVAILABLE, "unknown"))
    else:
        world.commit("a")
    await settle()
    del world
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize(
    "frame",
    [
        {"heartbeat": stream_pb2.HeartbeatRequest()},
        {"pong": stream_pb2.Pong()},
        {"ack_events": message_requests_pb2.AckEventsRequest(cursor="x")},
        {"reauthenticate": stream_pb2.Reauthenticate(access_token="x")},
        {},
    ],
    ids=lambda frame: next(iter(frame), "unknown"),
)
async def test_what_is_no_call_has_a_rate_of_its_own(frame: dict[str, Any]) -> None:
    """Of the user, whatever the stream. A frame beyond it is refused before anything is done for it. Planted:
    no rate for them; each was served as fast as the client could write.
    """
    world = World()
    world.rates.used_up.add("frame")
    world.say(1, **frame)
    await settle()
    assert world.rates.taken == [("frame", "ann")]
    assert world.client.replies == [(1, "error")]
    assert world.metrics.counts.stream_requests == {(next(iter(frame), ""), "RESOURCE_EXHAUSTED"): 1}
    assert world.client.ended == []


async def test_frames_that_need_no_store_are_never_too_many_in_flight() -> None:
    """However many come in one packet, and though as many messages wait as may: the last cursor is the one
    that matters. Their rate is their bound. Planted: a task for each, counted as in flight; of a hundred
    acknowledgements those from the 33rd on were refused.
    """
    world = World(requests_in_flight=2)
    world.send(1, "a")
    world.send(2, "b")
    for number in range(1, 101):
        world.say(number + 2, ack_events=message_requests_pb2.AckEventsRequest(cursor=str(number)))
    world.say(103, heartbeat=stream_pb2.HeartbeatRequest())
    assert world.requests.acknowledged == "100"
    assert world.client.replies == [
        *((number + 2, "ack_events") for number in range(1, 101)),
        (103, "heartbeat"),
    ]
    assert world.requests.in_flight == 2
    world.rates.used_up.add("frame")
    world.say(104, ack_events=message_requests_pb2.AckEventsRequest(cursor="101"))
    assert world.requests.acknowledged == "100"
    assert world.client.replies[-1] == (104, "error")
    assert world.metrics.counts.stream_requests["ack_events", "RESOURCE_EXHAUSTED"] == 1


async def test_frames_wait_for_a_rate_limiter_that_asks_a_store() -> None:
    """They are in flight then, and bounded. Planted: served at once all the same, every one failed."""
    world = World(requests_in_flight=2)
    world.rates.answers_at_once = False
    for number in (1, 2, 3):
        world.say(number, ack_events=message_requests_pb2.AckEventsRequest(cursor=str(number)))
    assert world.client.replies == [(3, "error")]
    await settle()
    assert world.client.replies == [(3, "error"), (1, "ack_events"), (2, "ack_events")]
    assert world.requests.acknowledged == "2"


async def test_a_stream_that_goes_on_in_spite_of_refusals_is_ended() -> None:
    """Whatever it is that is refused as too much; what is served makes up for one each, and other errors are
    not counted. Planted: only frames counted; nothing made up for; every error counted.
    """
    world = World(refusals_per_stream=3, requests_in_flight=2)
    world.rates.used_up.add("frame")
    for _ in range(2):
        world.say(heartbeat=stream_pb2.HeartbeatRequest())
        await settle()
    world.send(1, "refused")
    world.send(2, "a")
    world.commit("a")
    await settle()
    # One is made up for. Too many in flight, and too large: three again, which is as many as there may be.
    world.send(3, "b")
    world.send(4, "c")
    world.send(5, "d")
    world.requests.submit(stream_pb2.ConnectRequest(request_id=6), 1 << 30)
    world.commit("b")
    world.commit("c")
    await settle()
    assert world.client.ended == []
    world.rates.used_up.add("send")
    for request_id in (7, 8):
        world.send(request_id, "e")
        world.edit(request_id, "e")
        await settle()
    assert [ended.reason for ended in world.client.ended if ended] == [Reason.RATE_LIMITED] * 2
    assert {ended.retry_after_seconds for ended in world.client.ended if ended} == {2.5}
