"""A load generator, in a process of its own: `python -m benchmarks.load`.

Reads one JSON object per line and answers each with one. The first is the plan (see `Plan`), the others name
what to do (`do`); it ends at the end of its input. It counts bytes and fields and parses next to nothing:
what it costs is part of every answer (`cpu_seconds` of `seconds`).
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop
from benchmarks.client_ids import client_ids
from benchmarks.wire import Connection, Headers, WireError, connect

from parley.chat.v1 import chat_service_pb2, message_requests_pb2, stream_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNECT = "/parley.chat.v1.ChatService/Connect"
SEND_MESSAGE = "/parley.chat.v1.ChatService/SendMessage"
LIST_MESSAGES = "/parley.chat.v1.ChatService/ListMessages"

CONNECTING_AT_ONCE = 50
CONNECT_LIMIT_SECONDS = 60.0
ROUND_LIMIT_SECONDS = 60.0

EVENTS_TAG, REPLIES_TAG, CONTROLS_TAG = 0x0A, 0x1A, 0x2A
SEND_REPLY = b"\x08\x01\x1a"
"""How a Reply to request 1 begins when it carries the answer to send_message."""
HEARTBEAT_REPLY = b"\x08\x01\x3a"


class Device(msgspec.Struct, frozen=True):
    """One client: its token, the channel it writes to or reads (empty: none), and the cursor it comes back
    with.
    """

    token: str
    channel_id: str = ""
    cursor: str = ""


class Plan(msgspec.Struct, frozen=True):
    """What a generator is made of. `kind`: "stream" opens a Connect stream per device, "unary" does not."""

    address: str
    kind: str
    devices: list[Device]
    text: str = ""


class Failed(Exception):
    """The node refused or ended something that the measurement needs."""


def fields_of(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """(tag, start, stop) of each length-delimited field of a frame, by its one-byte tag."""
    position, end = 0, len(encoded)
    while position < end:
        tag = encoded[position]
        size = shift = 0
        while True:
            position += 1
            byte = encoded[position]
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        start = position + 1
        position = start + size
        yield tag, start, position


class Counter:
    """What all streams of this process received."""

    def __init__(self) -> None:
        self.events = self.frames = self.size_bytes = 0
        self.last_event_at = 0.0
        self.failure: Exception | None = None
        self.changed: Callable[[], None] | None = None

    def fail(self, error: Exception) -> None:
        """Keep the first failure and wake whoever waits."""
        self.failure = self.failure or error
        if self.changed is not None:
            self.changed()


class Stream:
    """One device on Connect: counts what comes, and has one request in flight at most."""

    def __init__(self, device: Device, counter: Counter) -> None:
        self.device = device
        self._counter = counter
        self._connection: Connection | None = None
        self._call_id = 0
        self._caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.replied: Callable[[bytes], None] | None = None

    async def open(self, address: str) -> None:
        """Connect, say hello, and wait until the stream is live."""
        self._connection = await connect(address, self.device.token, self._lost)
        self._call_id = self._connection.start(CONNECT, self._joining, self._ended)
        self.send(
            stream_pb2.ConnectRequest(
                hello=stream_pb2.Hello(client="parley-bench/1", foreground=False, cursor=self.device.cursor)
            ).SerializeToString()
        )
        await self._caught_up

    def send(self, request: bytes) -> None:
        """Write one encoded ConnectRequest."""
        assert self._connection is not None
        self._connection.send(self._call_id, request)

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()

    def _lost(self, error: Exception) -> None:
        if not self._caught_up.done():
            self._caught_up.set_exception(error)
        self._counter.fail(error)

    def _ended(self, trailers: Headers) -> None:
        self._lost(
            Failed(f"a stream ended: {trailers.get('grpc-status')} {trailers.get('grpc-message', '')}")
        )

    def _joining(self, encoded: bytes) -> None:
        response = stream_pb2.ConnectResponse.FromString(encoded)
        if any(control.WhichOneof("control") == "caught_up" for control in response.controls):
            assert self._connection is not None
            self._connection.deliver_to(self._call_id, self._live)
            self._caught_up.set_result(None)

    def _live(self, encoded: bytes) -> None:
        counter = self._counter
        counter.frames += 1
        counter.size_bytes += len(encoded)
        events = 0
        for tag, start, stop in fields_of(encoded):
            if tag == EVENTS_TAG:
                events += 1
            elif tag == REPLIES_TAG and self.replied is not None:
                self.replied(encoded[start:stop])
            elif tag == CONTROLS_TAG:
                self._control(encoded[start:stop])
        if events:
            counter.events += events
            if counter.changed is not None:
                counter.changed()

    def _control(self, encoded: bytes) -> None:
        control = stream_pb2.Control.FromString(encoded)
        if control.WhichOneof("control") == "go_away":
            reason = stream_pb2.GoAwayReason.Name(control.go_away.reason)
            self._lost(Failed(f"the node sent a stream away: {reason}"))


class Caller:
    """One device that makes unary calls, one at a time, on one connection."""

    def __init__(self, device: Device, counter: Counter) -> None:
        self.device = device
        self._counter = counter
        self._connection: Connection | None = None
        self._answer = b""
        self.answered: Callable[[bytes], None] | None = None

    async def open(self, address: str) -> None:
        """Connect."""
        self._connection = await connect(address, self.device.token, self._counter.fail)

    def call(self, path: str, request: bytes) -> None:
        """Make one call; `answered` gets the encoded answer."""
        assert self._connection is not None
        self._connection.send(self._connection.start(path, self._message, self._ended), request, end=True)

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()

    def _message(self, encoded: bytes) -> None:
        self._answer = encoded

    def _ended(self, trailers: Headers) -> None:
        if trailers.get("grpc-status") != "0":
            status, message = trailers.get("grpc-status"), trailers.get("grpc-message", "")
            self._counter.fail(Failed(f"a call failed: {status} {message}"))
        elif self.answered is not None:
            self._counter.frames += 1
            self._counter.size_bytes += len(self._answer)
            self.answered(self._answer)


class Load:
    """The generator itself: opens what the plan names and runs rounds."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._counter = Counter()
        self._clients: list[Stream | Caller] = []
        self._ids = client_ids(os.urandom(8))

    async def open(self, up_to: int) -> None:
        """Open the clients of the plan up to this many."""
        kind = Stream if self._plan.kind == "stream" else Caller
        fresh = [kind(device, self._counter) for device in self._plan.devices[len(self._clients) : up_to]]
        free = asyncio.Semaphore(CONNECTING_AT_ONCE)

        async def open_one(client: Stream | Caller) -> None:
            async with free:
                await client.open(self._plan.address)

        async with asyncio.timeout(CONNECT_LIMIT_SECONDS):
            await asyncio.gather(*map(open_one, fresh))
        self._clients += fresh
        gc.collect()
        gc.freeze()

    async def run(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order. Raises Failed or WireError."""
        counter = self._counter
        counter.events = counter.frames = counter.size_bytes = 0
        if self._counter.failure is not None:
            raise self._counter.failure
        started, cpu = time.perf_counter(), time.process_time()
        async with asyncio.timeout(order.get("limit_seconds", ROUND_LIMIT_SECONDS)):
            match order["do"]:
                case "open":
                    await self.open(order["up_to"])
                    answer: dict[str, Any] = {}
                case "send":
                    answer = await self._send(order["seconds"], order["senders"], order["receivers"])
                case "call":
                    answer = await self._call(order["seconds"], self._send_call())
                case "history":
                    answer = await self._call(order["seconds"], self._history_call(order["page_size"]))
                case "idle":
                    answer = await self._idle(order["seconds"], order["heartbeats_per_second"])
                case other:
                    raise Failed(f"unknown order {other}")
        return {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
            "events": counter.events,
            "frames": counter.frames,
            "bytes": counter.size_bytes,
            **answer,
        }

    def close(self) -> None:
        """Drop all connections."""
        for client in self._clients:
            client.close()

    async def _send(self, seconds: float, senders: int, receivers: int) -> dict[str, Any]:
        """The first `senders` streams send, each one message at a time, for `seconds`.

        Then waits until every message was delivered to `receivers` streams.
        """
        streams = [client for client in self._clients[:senders] if isinstance(client, Stream)]
        counter, clock, new_id = self._counter, time.perf_counter, self._ids.__next__
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
            before, after = send_frame_around_id(stream.device.channel_id, self._plan.text)
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

    async def _call(
        self, seconds: float, request_of: Callable[[Caller], tuple[str, bytes]]
    ) -> dict[str, Any]:
        """Every caller makes one call after the other for `seconds`."""
        callers = [client for client in self._clients if isinstance(client, Caller)]
        counter, clock = self._counter, time.perf_counter
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

            def call() -> None:
                nonlocal called_at
                path, request = request_of(caller)
                called_at = clock()
                caller.call(path, request)

            def answered(_: bytes) -> None:
                nonlocal running, last
                last = clock()
                latencies.append(last - called_at)
                if last < deadline:
                    call()
                else:
                    running -= 1
                    check()

            caller.answered = answered
            call()

        counter.changed = check
        for caller in callers:
            drive(caller)
        await settled
        counter.changed = None
        return {"sent": len(latencies), "send_seconds": last - start, "latency_ms": percentiles(latencies)}

    def _send_call(self) -> Callable[[Caller], tuple[str, bytes]]:
        def request_of(caller: Caller) -> tuple[str, bytes]:
            request = message_requests_pb2.SendMessageRequest(
                channel_id=caller.device.channel_id,
                client_message_id=next(self._ids).decode(),
                text=self._plan.text,
            )
            return SEND_MESSAGE, request.SerializeToString()

        return request_of

    def _history_call(self, page_size: int) -> Callable[[Caller], tuple[str, bytes]]:
        def request_of(caller: Caller) -> tuple[str, bytes]:
            request = chat_service_pb2.ListMessagesRequest(
                channel_id=caller.device.channel_id, page_size=page_size
            )
            return LIST_MESSAGES, request.SerializeToString()

        return request_of

    async def _idle(self, seconds: float, heartbeats_per_second: float) -> dict[str, Any]:
        """Keep all streams open for `seconds`; one after the other sends a heartbeat, evenly spaced."""
        streams = [client for client in self._clients if isinstance(client, Stream)]
        request = stream_pb2.ConnectRequest(request_id=1, heartbeat=stream_pb2.HeartbeatRequest())
        encoded = request.SerializeToString()
        answered = 0

        def replied(reply: bytes) -> None:
            nonlocal answered
            if reply.startswith(HEARTBEAT_REPLY):
                answered += 1
            else:
                self._counter.fail(Failed("a heartbeat was refused"))

        for stream in streams:
            stream.replied = replied
        sent = 0
        start = time.perf_counter()
        turns = itertools.cycle(streams)
        while (now := time.perf_counter()) < start + seconds:
            while sent < (now - start) * heartbeats_per_second:
                next(turns).send(encoded)
                sent += 1
            if self._counter.failure is not None:
                raise self._counter.failure
            await asyncio.sleep(0.01)
        return {"heartbeats": sent, "heartbeats_answered": answered}


def send_frame_around_id(channel_id: str, text: str) -> tuple[bytes, bytes]:
    """An encoded ConnectRequest (request 1, send_message) in two parts: the id (36 bytes) goes between."""
    placeholder = "0" * 36
    request = stream_pb2.ConnectRequest(
        request_id=1,
        send_message=message_requests_pb2.SendMessageRequest(
            channel_id=channel_id, client_message_id=placeholder, text=text
        ),
    )
    before, found, after = request.SerializeToString().partition(placeholder.encode())
    assert found
    return before, after


def percentiles(latencies: list[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest, from seconds to milliseconds. Sorts the list."""
    latencies.sort()
    count = len(latencies)
    named = {f"p{p}": latencies[min(count - 1, count * p // 100)] for p in (50, 95, 99)}
    return {name: value * 1e3 for name, value in {**named, "max": latencies[-1]}.items()}


async def main() -> None:
    """Serve orders until the input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    load = Load(msgspec.json.decode(await reader.readline(), type=Plan))
    try:
        while line := await reader.readline():
            try:
                answer = await load.run(json.loads(line))
            except TimeoutError:
                answer = {"failed": "the round did not end in time: an answer or an event is missing"}
            except (Failed, WireError, OSError) as error:
                answer = {"failed": f"{type(error).__name__}: {error}"}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        load.close()


if __name__ == "__main__":
    # Ctrl-C is for the one who gives the orders; this process ends with its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
