"""A device by the book of docs/streams.md: it comes, is cut off, sleeps, forgets, and writes down what it is
given. It repairs nothing, so that what the server owes shows.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from parley.chat.v1 import chat_service_pb2, message_requests_pb2, stream_pb2
from parley_server.testing.robustness.history import Outcome, Step
from parley_server.testing.robustness.line import entry_of, verdict_of_error, verdict_of_status
from parley_server.testing.robustness.reader_validation import FINISHED
from parley_server.testing.robustness.tasks import being_cancelled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from parley.chat.v1 import event_pb2
    from parley_server.testing.raw_client import Person, RawClient
    from parley_server.testing.robustness.history import DeviceStream, Mark
    from parley_server.testing.robustness.line import Line
    from parley_server.testing.robustness.recorder import Recorder

PAGE_SIZE = 200
KNOWN_CHANNELS_LIMIT = 1000
LEFT = "the device left without a word"


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a device lives: shares of its streams, or of the frames that it reads, and times in seconds.

    A stream is left after `stay_seconds`, unless the device stays `for_good` until something breaks. With
    nothing heard for `silent_seconds` the device takes its connection for dead.
    """

    for_good: float = 0.2
    politely: float = 0.4
    stay_seconds: tuple[float, float] = (0.05, 1.5)
    sleep_seconds: tuple[float, float] = (0.0, 0.8)
    silent_seconds: float = 4.0
    call_seconds: float = 5.0
    forgets: float = 0.06
    garbles: float = 0.08
    names_no_channels: float = 0.1
    stalls: float = 0.2
    stall_seconds: tuple[float, float] = (0.5, 3.0)
    acknowledges: float = 0.05
    marks: float = 0.03


RESTLESS = Habits(for_good=0.1, stay_seconds=(0.02, 0.4), sleep_seconds=(0.0, 0.15), stalls=0.1)
"""Devices that come back so often that short runs meet much."""


class BookDevice:
    """One device. Everything that it is given goes into the history."""

    def __init__(
        self, name: str, line: Line, person: Person, recorder: Recorder, random: Random, habits: Habits
    ) -> None:
        self._name = name
        self._line = line
        self._person = person
        self._recorder = recorder
        self._random = random
        self._habits = habits
        self._cursor = ""
        self._seqs: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._life = self._number = 0
        self._call: Any = None
        self._named: set[str] = set()
        self._told = False
        self._live = asyncio.Event()
        self._staying = asyncio.Event()
        self._finished = False
        self._heard_at = 0.0
        self._request_id = 0
        self._marks: dict[int, Mark] = {}
        self._awaited: tuple[Mapping[str, int], Mapping[str, int], asyncio.Future[None]] | None = None

    async def run(self) -> None:
        """Live until cancelled."""
        try:
            while True:
                client = await self._line.client()
                await self._watch(client)
                await self._line.broke()
                if not self._staying.is_set():
                    await self._sleep()
        finally:
            await self._line.close()

    async def live(self) -> None:
        """Return when there is a stream that has caught up."""
        await self._live.wait()

    def stay(self) -> None:
        """Sleep no more and leave no stream."""
        self._staying.set()

    async def has(self, seqs: Mapping[str, int], read: Mapping[str, int]) -> None:
        """Return when the device has these seqs, and knows these read positions, on a live stream."""
        self._awaited = (seqs, read, asyncio.get_running_loop().create_future())
        self._check_awaited()
        await self._awaited[2]

    async def come_again(self) -> None:
        """Be cut off and come back at once. Returns when the next stream has caught up."""
        self._live.clear()
        if self._call is not None:
            self._call.cancel()
        await self._live.wait()

    def finish(self) -> None:
        """The stream that is open now should have given everything: say so in the history."""
        self._finished = self._live.is_set()

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(self._random.uniform(*self._habits.sleep_seconds)):
                await self._staying.wait()
        except TimeoutError:
            return

    async def _watch(self, client: RawClient) -> None:
        random, habits = self._random, self._habits
        if self._cursor and not self._staying.is_set() and random.random() < habits.forgets:
            self._forget()
        cursor = "garbage" if self._cursor and random.random() < habits.garbles else self._cursor
        self._number += 1
        stream = self._recorder.device_stream(
            self._name, self._person.user_id, self._life, self._number, cursor
        )
        self._call = call = client.chat.Connect(metadata=self._person.metadata)
        reading = asyncio.create_task(self._read_stream(client, call, stream))
        minding = asyncio.create_task(self._mind(call))
        # gRPC does not wake who writes on a call that was cancelled before it had a connection.
        minding.add_done_callback(lambda _: asyncio.get_running_loop().call_later(0.2, reading.cancel))
        why = "cancelled"
        try:
            why = await reading
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            why = LEFT
        finally:
            self._live.clear()
            minding.cancel()
            call.cancel()
            self._marks.clear()
            self._recorder.device_stream_ended(stream, FINISHED if self._finished else why)

    def _forget(self) -> None:
        """Lose the state."""
        self._life += 1
        self._cursor = ""
        self._seqs.clear()
        self._read.clear()

    async def _mind(self, call: Any) -> None:
        """Leave the stream when it is time, or when nothing is heard."""
        random, habits = self._random, self._habits
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        for_good = random.random() < habits.for_good
        leave_at = self._heard_at + (1e9 if for_good else random.uniform(*habits.stay_seconds))
        while True:
            until = min(leave_at, self._heard_at + habits.silent_seconds)
            await asyncio.sleep(max(until - loop.time(), 0.01))
            if loop.time() - self._heard_at >= habits.silent_seconds:
                call.cancel()
                return
            if loop.time() >= leave_at and not self._staying.is_set():
                if random.random() < habits.politely:
                    # The network may not take the word, or never bring the end.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(habits.silent_seconds):
                            await _write(call, stream_pb2.ConnectRequest(goodbye=stream_pb2.Goodbye()))
                            await asyncio.sleep(habits.silent_seconds)
                call.cancel()
                return
            if self._staying.is_set():
                leave_at = self._heard_at + 1e9

    async def _read_stream(self, client: RawClient, call: Any, stream: DeviceStream) -> str:
        """Read until the stream ends. Returns why it did."""
        random, habits = self._random, self._habits
        known = [
            stream_pb2.KnownChannel(channel_id=channel_id, seq=seq)
            for channel_id, seq in list(self._seqs.items())[-KNOWN_CHANNELS_LIMIT:]
        ]
        if random.random() < habits.names_no_channels:
            known = []
        hello = stream_pb2.Hello(
            cursor=stream.cursor, client="robustness", foreground=True, known_channels=known
        )
        fresh = not self._cursor and not self._seqs
        self._named.clear()
        self._told = False
        stall_at = random.randint(2, 20) if random.random() < habits.stalls else 0
        frames = 0
        try:
            await call.write(stream_pb2.ConnectRequest(hello=hello))
            while (frame := await call.read()) is not grpc.aio.EOF:
                self._heard_at = asyncio.get_running_loop().time()
                await self._take(client, frame, stream, fresh=fresh)
                await self._speak(call, frame)
                frames += 1
                if frames == stall_at and not self._staying.is_set():
                    await asyncio.sleep(random.uniform(*habits.stall_seconds))
                self._heard_at = asyncio.get_running_loop().time()
        except grpc.aio.AioRpcError as error:
            return verdict_of_error(error).reason
        except asyncio.InvalidStateError as error:
            return f"the call was over: {error}"
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            return LEFT
        return "OK"

    async def _take(
        self, client: RawClient, frame: stream_pb2.ConnectResponse, stream: DeviceStream, *, fresh: bool
    ) -> None:
        caught_up = False
        for control in frame.controls:
            kind = control.WhichOneof("control")
            if kind == "welcome":
                self._welcome(control.welcome, stream)
            elif kind == "digest":
                for head in control.digest.heads:
                    self._named.add(head.channel_id)
                    self._reads(stream, head.channel_id, head.read_seq)
                    # A digest that comes later is about what happened since.
                    await self._head(client, head, stream, fresh=fresh and not self._told)
            elif kind == "read_position":
                self._reads(stream, control.read_position.channel_id, control.read_position.read_seq)
            elif kind == "lagging":
                stream.lags += 1
            elif kind == "caught_up":
                caught_up = True
        if not self._told and (frame.events or frame.cursor or caught_up):
            if stream.resume.startswith("reset") and not fresh:
                await self._fetch_left(client, stream)
            self._told = True
        for event in frame.events:
            self._given("event", event, stream, stream.start_ns)
        if caught_up and not self._live.is_set():
            stream.steps.append(Step("caught_up"))
            self._live.set()
        if frame.cursor:
            self._store(stream, frame.cursor)
        self._check_awaited()

    def _welcome(self, welcome: stream_pb2.Welcome, stream: DeviceStream) -> None:
        resume: str = welcome.WhichOneof("resume") or "nothing"
        if welcome.HasField("reset"):
            reason = stream_pb2.ResetReason.Name(welcome.reset.reason)
            resume += f" {reason.removeprefix('RESET_REASON_')}"
        self._recorder.welcomed(stream, resume)
        if welcome.cursor:
            self._store(stream, welcome.cursor)

    async def _fetch_left(self, client: RawClient, stream: DeviceStream) -> None:
        """What the device knows and no page of a reset named was left while it was away: its end is to be
        read, before the first event and the first cursor.
        """
        for channel_id in [each for each in self._seqs if each not in self._named]:
            await self._fetch(client, channel_id, self._seqs[channel_id] + 1, stream)

    async def _head(
        self, client: RawClient, head: stream_pb2.ChannelHead, stream: DeviceStream, *, fresh: bool
    ) -> None:
        seq = self._seqs.get(head.channel_id)
        if fresh:
            stream.steps.append(Step("began", head.channel_id, head.head_seq))
            self._has(head.channel_id, head.head_seq)
        elif seq is None:
            await self._fetch(client, head.channel_id, head.joined_seq, stream)
        elif head.head_seq > seq:
            await self._fetch(client, head.channel_id, seq + 1, stream)

    async def _fetch(self, client: RawClient, channel_id: str, from_seq: int, stream: DeviceStream) -> None:
        token = ""
        while True:
            request = chat_service_pb2.ListEventsRequest(
                channel_id=channel_id, from_seq=from_seq, page_size=PAGE_SIZE, page_token=token
            )
            start_ns = self._recorder.now_ns()
            page = await client.chat.ListEvents(
                request, metadata=self._person.metadata, timeout=self._habits.call_seconds
            )
            self._heard_at = asyncio.get_running_loop().time()
            for event in page.events:
                self._given("fetched", event, stream, start_ns)
            token = page.next_page_token
            if not token:
                return

    def _given(self, what: str, event: event_pb2.Event, stream: DeviceStream, since_ns: int) -> None:
        """An event came, on the stream or in an answer to what was asked at `since_ns`."""
        stream.steps.append(Step(what, event.channel_id, event.seq, entry_of(event)))
        self._has(event.channel_id, event.seq)

    async def _speak(self, call: Any, frame: stream_pb2.ConnectResponse) -> None:
        """Now and then acknowledge a cursor, and read on in a channel; hear what came of it."""
        random, habits = self._random, self._habits
        for reply in frame.replies:
            mark = self._marks.pop(reply.request_id, None)
            if mark is not None and reply.WhichOneof("result") == "mark_read":
                self._recorder.marked(mark, Outcome.OK, read_seq=reply.mark_read.read_seq)
            elif mark is not None:
                verdict = verdict_of_status(reply.error)
                self._recorder.marked(mark, verdict.outcome, reason=verdict.reason)
        if frame.cursor and random.random() < habits.acknowledges:
            request = message_requests_pb2.AckEventsRequest(cursor=frame.cursor)
            await _write(call, stream_pb2.ConnectRequest(ack_events=request))
        if frame.events and self._live.is_set() and random.random() < habits.marks:
            channel_id = frame.events[0].channel_id
            self._request_id += 1
            mark = self._recorder.mark(self._person.user_id, channel_id, self._seqs[channel_id])
            self._marks[self._request_id] = mark
            request_read = message_requests_pb2.MarkReadRequest(channel_id=channel_id, seq=mark.seq)
            await _write(call, stream_pb2.ConnectRequest(request_id=self._request_id, mark_read=request_read))

    def _has(self, channel_id: str, seq: int) -> None:
        if seq > self._seqs.get(channel_id, -1):
            # Newest last, so that a Hello can name those with the newest events.
            self._seqs.pop(channel_id, None)
            self._seqs[channel_id] = seq

    def _reads(self, stream: DeviceStream, channel_id: str, seq: int) -> None:
        stream.steps.append(Step("read", channel_id, seq))
        self._read[channel_id] = max(seq, self._read.get(channel_id, 0))

    def _store(self, stream: DeviceStream, cursor: str) -> None:
        stream.steps.append(Step("cursor", text=cursor))
        self._cursor = cursor

    def _check_awaited(self) -> None:
        if self._awaited is None or not self._live.is_set():
            return
        seqs, read, reached = self._awaited
        if (
            not reached.done()
            and all(self._seqs.get(channel_id, 0) >= seq for channel_id, seq in seqs.items())
            and all(self._read.get(channel_id, 0) >= seq for channel_id, seq in read.items())
        ):
            reached.set_result(None)


async def _write(call: Any, request: stream_pb2.ConnectRequest) -> None:
    try:
        await call.write(request)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # The stream is over; whoever reads it learns why.
        return
