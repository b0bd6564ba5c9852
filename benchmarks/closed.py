"""Rounds in which each client has one request in flight at most, and the next follows the answer."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

from benchmarks.clients import HEARTBEAT_REPLY, SEND_REPLY, Failed, send_frame_around_id
from benchmarks.figures import percentiles

from parley.chat.v1 import chat_service_pb2, message_requests_pb2, stream_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.clients import Caller, Counter, Stream

SEND_MESSAGE = "/parley.chat.v1.ChatService/SendMessage"
LIST_MESSAGES = "/parley.chat.v1.ChatService/ListMessages"


async def send(
    streams: Sequence[Stream],
    counter: Counter,
    ids: Iterator[bytes],
    *,
    text: str,
    seconds: float,
    receivers: int,
) -> dict[str, Any]:
    """All streams send, each one message at a time, for `seconds`.

    Then waits until every message was delivered to `receivers` streams. Raises Failed.
    """
    clock, new_id = time.perf_counter, ids.__next__
    settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    latencies: list[float] = []
    running = len(streams)
    start = clock()
    deadline, last_ack = start + seconds, start

    def check() -> None:
        if not settled.done():
            if counter.failure is not None:
                settled.set_exception(counter.failure)
            elif running == 0 and counter.events >= len(latencies) * receivers:
                settled.set_result(None)

    def drive(stream: Stream) -> None:
        before, after = send_frame_around_id(stream.device.channel_id, text)
        sent_at = 0.0

        def send() -> None:
            nonlocal sent_at
            sent_at = clock()
            stream.send(before + new_id() + after)

        def replied(reply: bytes) -> None:
            nonlocal running, last_ack
            last_ack = clock()
            if not reply.startswith(SEND_REPLY):
                counter.fail(Failed(f"a send was refused: {stream_pb2.Reply.FromString(reply)}"))
                return
            latencies.append(last_ack - sent_at)
            if last_ack < deadline:
                send()
            else:
                running -= 1
                check()

        stream.replied = replied
        send()

    counter.changed = check
    for stream in streams:
        drive(stream)
    await settled
    counter.changed = None
    return {
        "sent": len(latencies),
        "send_seconds": last_ack - start,
        "deliver_seconds": clock() - start,
        "latency_ms": percentiles(latencies),
    }


async def call(
    callers: Sequence[Caller],
    counter: Counter,
    request_of: Callable[[Caller], tuple[str, bytes]],
    *,
    seconds: float,
) -> dict[str, Any]:
    """Every caller makes one call after the other for `seconds`. Raises Failed."""
    clock = time.perf_counter
    settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    latencies: list[float] = []
    running = len(callers)
    start = clock()
    deadline, last = start + seconds, start

    def check() -> None:
        if not settled.done():
            if counter.failure is not None:
                settled.set_exception(counter.failure)
            elif running == 0:
                settled.set_result(None)

    def drive(caller: Caller) -> None:
        called_at = 0.0

        def ask() -> None:
            nonlocal called_at
            path, request = request_of(caller)
            called_at = clock()
            caller.call(path, request)

        def answered(_: bytes) -> None:
            nonlocal running, last
            last = clock()
            latencies.append(last - called_at)
            if last < deadline:
                ask()
            else:
                running -= 1
                check()

        caller.answered = answered
        ask()

    counter.changed = check
    for caller in callers:
        drive(caller)
    await settled
    counter.changed = None
    return {"sent": len(latencies), "send_seconds": last - start, "latency_ms": percentiles(latencies)}


def send_message(text: str, ids: Iterator[bytes]) -> Callable[[Caller], tuple[str, bytes]]:
    """The call that sends a message to the caller's channel."""

    def request_of(caller: Caller) -> tuple[str, bytes]:
        request = message_requests_pb2.SendMessageRequest(
            channel_id=caller.device.channel_id,
            client_message_id=next(ids).decode(),
            text=text,
        )
        return SEND_MESSAGE, request.SerializeToString()

    return request_of


def list_messages(page_size: int) -> Callable[[Caller], tuple[str, bytes]]:
    """The call that reads the newest page of the caller's channel."""

    def request_of(caller: Caller) -> tuple[str, bytes]:
        request = chat_service_pb2.ListMessagesRequest(
            channel_id=caller.device.channel_id, page_size=page_size
        )
        return LIST_MESSAGES, request.SerializeToString()

    return request_of


async def idle(
    streams: Sequence[Stream], counter: Counter, *, seconds: float, heartbeats_per_second: float
) -> dict[str, Any]:
    """Keep all streams open for `seconds`; one after the other sends a heartbeat, evenly spaced.

    Raises Failed.
    """
    request = stream_pb2.ConnectRequest(request_id=1, heartbeat=stream_pb2.HeartbeatRequest())
    encoded = request.SerializeToString()
    answered = 0

    def replied(reply: bytes) -> None:
        nonlocal answered
        if reply.startswith(HEARTBEAT_REPLY):
            answered += 1
        else:
            counter.fail(Failed("a heartbeat was refused"))

    for stream in streams:
        stream.replied = replied
    sent = 0
    start = time.perf_counter()
    turns = itertools.cycle(streams)
    while (now := time.perf_counter()) < start + seconds:
        while sent < (now - start) * heartbeats_per_second:
            next(turns).send(encoded)
            sent += 1
        if counter.failure is not None:
            raise counter.failure
        await asyncio.sleep(0.01)
    return {"heartbeats": sent, "heartbeats_answered": answered}
