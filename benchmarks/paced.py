"""Rounds at a given rate, read by devices that check what they get; some of them take nothing for a while."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from benchmarks.clients import SEND_REPLY, Failed, send_frame_around_id
from benchmarks.figures import percentiles

from parley.chat.v1 import stream_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.clients import Counter
    from benchmarks.reader import Reader

    from parley.chat.v1 import event_pb2

TICK_SECONDS = 0.001
POLL_SECONDS = 0.005
AS_FAST_AS_ANSWERED = 1e9


class Pacer:
    """Sends so many messages a second, the senders in turns, each with one in flight.

    If all are in flight it sends later, and then faster until it is on time again. `sent_at` is by message
    id, `sent` the ids of each channel in order, `heads` the newest seq of each channel by the node's answers.
    """

    def __init__(
        self,
        senders: Sequence[Reader],
        counter: Counter,
        ids: Iterator[bytes],
        *,
        text: str,
        per_second: float,
    ) -> None:
        self._counter = counter
        self._new_id = ids.__next__
        self._per_second = per_second
        self._senders = len(senders)
        self._free: deque[Callable[[], None]] = deque(self._driven(sender, text) for sender in senders)
        self._stopping = False
        self.sent_at: dict[str, float] = {}
        self.sent: dict[str, list[str]] = {sender.device.channel_id: [] for sender in senders}
        self.heads: dict[str, int] = {}
        self.ack_latencies: list[float] = []
        self.seconds = 0.0

    async def run(self, seconds: float = math.inf, messages: float = math.inf) -> None:
        """Send for so long or so many, or until `stop`; every send is answered when this returns.

        Raises Failed.
        """
        clock = time.monotonic
        start, started = clock(), 0
        while not self._stopping and started < messages and (now := clock()) < start + seconds:
            due = min(messages, (now - start) * self._per_second + 1)
            while started + 1 <= due and self._free:
                self._free.popleft()()
                started += 1
            if self._counter.failure is not None:
                raise self._counter.failure
            await asyncio.sleep(max(TICK_SECONDS, start + started / self._per_second - clock()))
        await until(self._counter, lambda: len(self._free) == self._senders)
        self.seconds = clock() - start

    def stop(self) -> None:
        """Send no more."""
        self._stopping = True

    def _driven(self, sender: Reader, text: str) -> Callable[[], None]:
        channel_id = sender.device.channel_id
        before, after = send_frame_around_id(channel_id, text)
        clock = time.monotonic
        sent_at = 0.0

        def send() -> None:
            nonlocal sent_at
            message_id = self._new_id()
            named = message_id.decode()
            self.sent[channel_id].append(named)
            self.sent_at[named] = sent_at = clock()
            sender.send(before + message_id + after)

        def replied(encoded: bytes) -> None:
            self.ack_latencies.append(clock() - sent_at)
            reply = stream_pb2.Reply.FromString(encoded)
            if not encoded.startswith(SEND_REPLY):
                self._counter.fail(Failed(f"a send was refused: {reply}"))
                return
            self.heads[channel_id] = max(self.heads.get(channel_id, 0), reply.send_message.seq)
            self._free.append(send)

        sender.replied = replied
        return send


async def until(counter: Counter, ready: Callable[[], bool]) -> None:
    """Wait for it; the round's own limit ends the wait. Raises Failed as soon as anything has failed."""
    while not ready():
        if counter.failure is not None:
            raise counter.failure
        await asyncio.sleep(POLL_SECONDS)
    if counter.failure is not None:
        raise counter.failure


async def hold(counter: Counter, seconds: float) -> None:
    """Let so much time pass. Raises Failed as soon as anything has failed."""
    end = time.monotonic() + seconds
    await until(counter, lambda: time.monotonic() >= end)


async def send(
    senders: Sequence[Reader],
    readers: Sequence[Reader],
    counter: Counter,
    ids: Iterator[bytes],
    *,
    text: str,
    seconds: float,
    per_second: float,
) -> dict[str, Any]:
    """Send at this rate, and measure how long each event takes to each of `readers`.

    Ends when senders and readers have everything. Raises Failed.
    """
    pacer = Pacer(senders, counter, ids, text=text, per_second=per_second)
    latencies: list[float] = []

    def got(event: event_pb2.Event) -> None:
        latencies.append(time.monotonic() - pacer.sent_at[event.client_message_id])

    for reader in readers:
        reader.on_event = got
    await pacer.run(seconds)
    await until(counter, lambda: all(one.has(pacer.heads) for one in (*senders, *readers)))
    for reader in readers:
        reader.on_event = None
    sent = len(pacer.sent_at)
    if len(latencies) != sent * len(readers):
        raise Failed(f"{len(latencies)} events reached {len(readers)} readers, and {sent} were sent")
    return {
        "sent": sent,
        "send_seconds": pacer.seconds,
        "ack_ms": percentiles(pacer.ack_latencies),
        "delivery_ms": percentiles(latencies),
        "heads": pacer.heads,
    }


async def stall(readers: Sequence[Reader]) -> dict[str, Any]:
    """All take nothing more, from when this returns."""
    await asyncio.gather(*(reader.stall() for reader in readers))
    return {}


async def resume(readers: Sequence[Reader], counter: Counter, heads: Mapping[str, int]) -> dict[str, Any]:
    """All take everything again. Ends when each has all up to `heads` and is live. Raises Failed."""
    before = sum(reader.lags for reader in readers)
    dropped = sum(reader.dropped_events for reader in readers)
    await asyncio.gather(*(reader.resume() for reader in readers))
    await until(counter, lambda: all(one.has(heads) and not one.lagging for one in readers))
    return {
        "lags": sum(reader.lags for reader in readers) - before,
        "dropped_events": sum(reader.dropped_events for reader in readers) - dropped,
    }


async def read(readers: Sequence[Reader], counter: Counter, heads: Mapping[str, int]) -> dict[str, Any]:
    """Ends when each has all up to `heads`. Raises Failed."""
    await until(counter, lambda: all(one.has(heads) for one in readers))
    return {}


async def stall_one(
    senders: Sequence[Reader],
    reader: Reader,
    counter: Counter,
    ids: Iterator[bytes],
    *,
    text: str,
    per_second: float,
    filling_text: str,
    filling_messages: int,
    warm_seconds: float,
    stall_seconds: float,
    afterwards_seconds: float,
) -> dict[str, Any]:
    """Send to the reader's channels all the time: it reads, takes nothing for a while, reads again, and
    catches up under the load, which goes on for a while.

    First `filling_messages` larger ones are sent as fast as they are answered, so that the node's caches are
    full. At the end the reader's events must be those that were sent, per channel, by their ids. Times are of
    the monotonic clock. Raises Failed. A reader that never lags is waited for until the round's limit.
    """
    received: dict[str, list[str]] = {sender.device.channel_id: [] for sender in senders}
    reader.on_event = lambda event: received[event.channel_id].append(event.client_message_id)
    clock = time.monotonic
    filling = Pacer(senders, counter, ids, text=filling_text, per_second=AS_FAST_AS_ANSWERED)
    await filling.run(messages=filling_messages)
    await until(counter, lambda: reader.has(filling.heads) and not reader.lagging)
    pacer = Pacer(senders, counter, ids, text=text, per_second=per_second)
    marks: dict[str, float] = {"start": clock()}
    pacing = asyncio.create_task(pacer.run())
    try:
        await hold(counter, warm_seconds)
        await reader.stall()
        marks["stalled"] = clock()
        had, lags = sum(map(len, received.values())), reader.lags
        await hold(counter, stall_seconds)
        if sum(map(len, received.values())) != had:
            raise Failed("the stalled reader got events")
        missed = len(filling.sent_at) + len(pacer.sent_at) - had
        marks["resumed"] = clock()
        await reader.resume()
        await until(counter, lambda: reader.lags > lags and not reader.lagging)
        marks["caught_up"] = reader.caught_up_at
        await hold(counter, afterwards_seconds)
        pacer.stop()
        await pacing
    finally:
        pacing.cancel()
    marks["sent"] = clock()
    await until(counter, lambda: reader.has(pacer.heads) and not reader.lagging)
    marks["end"] = clock()
    if received != {channel_id: filling.sent[channel_id] + sent for channel_id, sent in pacer.sent.items()}:
        raise Failed("the reader's events are not those that were sent, once and in order")
    return {
        "sent": len(pacer.sent_at),
        "send_seconds": pacer.seconds,
        "ack_ms": percentiles(pacer.ack_latencies),
        "missed_events": missed,
        "received": sum(map(len, received.values())),
        "lags": reader.lags - lags,
        "last_caught_up": reader.caught_up_at,
        "marks": marks,
    }
