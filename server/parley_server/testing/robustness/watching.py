"""Readers on live streams. A reader of Connect can also send on its stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley_server.testing.robustness.history import Head, Outcome
from parley_server.testing.robustness.line import (
    Line,
    Verdict,
    entry_of,
    verdict_of_error,
    verdict_of_status,
)
from parley_server.testing.robustness.reader_validation import FINISHED
from parley_server.testing.robustness.tasks import being_cancelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parley_server.testing.raw_client import Person, RawClient
    from parley_server.testing.robustness.history import Session
    from parley_server.testing.robustness.recorder import Recorder


class Watcher:
    """One device's stream, opened again whenever it ends. Everything it shows goes into the history."""

    def __init__(self, line: Line, person: Person, way: str, recorder: Recorder) -> None:
        """`way` is `connect` or `subscribe`."""
        self._line = line
        self._person = person
        self._way = way
        self._recorder = recorder
        self._call: Any = None
        self._live = asyncio.Event()
        self._request_id = 0
        self._replies: dict[int, asyncio.Future[stream_pb2.Reply]] = {}
        self._seen: dict[str, int] = {}
        self._awaited: tuple[Mapping[str, int], asyncio.Future[None]] | None = None
        self._finished = False

    async def run(self) -> None:
        """Watch until cancelled. A stream open at that time ends as `finished` if `finish` was called."""
        try:
            while True:
                await self._watch(await self._line.client())
                await self._line.broke()
        finally:
            await self._line.close()

    async def live(self) -> None:
        """Return when there is a live stream."""
        await self._live.wait()

    async def ask(
        self, request: message_requests_pb2.SendMessageRequest, seconds: float
    ) -> message_requests_pb2.SendMessageResponse | Verdict:
        """Send on the live stream. Without a reply within `seconds` the verdict is UNKNOWN."""
        self._request_id += 1
        request_id = self._request_id
        reply: asyncio.Future[stream_pb2.Reply] = asyncio.get_running_loop().create_future()
        self._replies[request_id] = reply
        frame = stream_pb2.ConnectRequest(request_id=request_id, send_message=request)
        try:
            async with asyncio.timeout(seconds):
                await self._call.write(frame)
                return _answer(await reply)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, _StreamOver) as error:
            return Verdict(Outcome.UNKNOWN, True, f"the stream ended: {type(error).__name__} {error}"[:200])
        except TimeoutError:
            return Verdict(Outcome.UNKNOWN, True, f"no reply in {seconds} s")
        finally:
            self._replies.pop(request_id, None)

    async def seen(self, heads: Mapping[str, int]) -> None:
        """Return when the stream has shown, or been told of, these seqs in those of the channels it is in."""
        self._awaited = (heads, asyncio.get_running_loop().create_future())
        self._check_awaited()
        await self._awaited[1]

    def finish(self) -> None:
        """The stream that is open now should have everything: say so in the history when it is closed."""
        self._finished = self._live.is_set()

    async def _watch(self, client: RawClient) -> None:
        session = self._recorder.session(self._person.user_id, self._way)
        why = "cancelled"
        self._seen = {}
        try:
            why = await self._read(client, session)
        finally:
            self._live.clear()
            if self._call is not None:
                self._call.cancel()
            for reply in self._replies.values():
                if not reply.done():
                    reply.set_exception(_StreamOver(why))
            self._recorder.session_ended(session, FINISHED if self._finished else why)

    async def _read(self, client: RawClient, session: Session) -> str:
        """Read until the stream ends. Returns why it did."""
        hello = stream_pb2.Hello(client="robustness")
        metadata = self._person.metadata
        try:
            if self._way == "subscribe":
                request = stream_pb2.SubscribeRequest(hello=hello)
                self._call = client.chat.Subscribe(request, metadata=metadata)
            else:
                self._call = client.chat.Connect(metadata=metadata)
                await self._call.write(stream_pb2.ConnectRequest(hello=hello))
            while (frame := await self._call.read()) is not grpc.aio.EOF:
                self._take(frame, session)
        except grpc.aio.AioRpcError as error:
            return verdict_of_error(error).reason
        except asyncio.InvalidStateError as error:
            return f"the call was over: {error}"
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            # Whoever gives a write up while the window is shut cancels the whole call, as grpcio has it.
            return "the call was given up"
        return "OK"

    def _take(self, frame: stream_pb2.ConnectResponse, session: Session) -> None:
        for control in frame.controls:
            kind = control.WhichOneof("control")
            if kind == "digest":
                for head in control.digest.heads:
                    session.heads[head.channel_id] = Head(head.head_seq, head.head_message_no)
                    self._seen[head.channel_id] = head.head_seq
            elif kind == "caught_up":
                self._recorder.caught_up(session)
                self._live.set()
        for event in frame.events:
            session.events.setdefault(event.channel_id, []).append(entry_of(event))
            self._seen[event.channel_id] = event.seq
        for reply in frame.replies:
            waiting = self._replies.get(reply.request_id)
            if waiting is not None and not waiting.done():
                waiting.set_result(reply)
        self._check_awaited()

    def _check_awaited(self) -> None:
        if self._awaited is None or not self._live.is_set():
            return
        heads, reached = self._awaited
        if not reached.done() and all(
            self._seen.get(channel_id, 0) >= seq for channel_id, seq in heads.items()
        ):
            reached.set_result(None)


class _StreamOver(Exception):
    """The stream ended before the reply came."""


def _answer(reply: stream_pb2.Reply) -> message_requests_pb2.SendMessageResponse | Verdict:
    if reply.WhichOneof("result") == "send_message":
        return reply.send_message
    return verdict_of_status(reply.error)
