"""The open stream of a client: the shell around `Session`."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from grpc import StatusCode

from parley._errors import Disconnected, ParleyError, TimedOut
from parley._status import error_of_status
from parley.chat.v1 import message_requests_pb2, stream_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from parley._connect_call import ConnectCall
    from parley._session import Session

    Opened = tuple[ConnectCall, stream_pb2.ConnectResponse, str]
    OpenCall = Callable[[stream_pb2.ConnectRequest], Awaitable[Opened]]
    """Opens a call with this Hello and returns it with the first frame of the answer and the token used."""

_WAITING_LIMIT = 1024
"""Requests that wait for room on the stream. Beyond, requests go by unary calls."""

_GOODBYE_SECONDS = 2.0
_PONGS_WAITING_LIMIT = 64
_PAUSE_SECONDS = 1.0
_REAUTHENTICATE_SECONDS = 10.0


class Sink(Protocol):
    """Where frames go."""

    @property
    def has_room(self) -> bool:
        """Whether the next frame is welcome."""
        ...

    async def room(self) -> None:
        """Wait until the next frame is welcome."""
        ...

    def take(self, frame: stream_pb2.ConnectResponse) -> None:
        """Take a frame."""
        ...


class StreamCut(Exception):
    """The request cannot be answered on this stream; whether it was carried out is unknown."""


class Stream:
    """One stream from its opening to its end. Its tasks end with it."""

    def __init__(
        self,
        open_call: OpenCall,
        hello: stream_pb2.Hello,
        session: Session,
        *,
        sink: Sink,
        newer_token: Callable[[str], Awaitable[str]],
    ) -> None:
        self.session = session
        self._open_call = open_call
        self._hello = stream_pb2.ConnectRequest(hello=hello)
        self._foreground = hello.foreground
        self._sink = sink
        self._newer_token = newer_token
        self._queue: deque[tuple[dict[str, Any], asyncio.Future[stream_pb2.Reply]]] = deque()
        self._pending: dict[int, asyncio.Future[stream_pb2.Reply]] = {}
        # Bounded by the session: its requests in flight, one heartbeat, one goodbye, pongs up to a limit.
        self._frames: asyncio.Queue[stream_pb2.ConnectRequest] = asyncio.Queue()
        self._expiring = asyncio.Event()
        self._leaving = asyncio.Event()
        self._paused = False
        self._closing = False
        self._failure: BaseException | None = None
        self._task = asyncio.create_task(self._run(), name="parley stream")
        self._task.add_done_callback(self._over)

    @property
    def ended(self) -> bool:
        """Whether the stream is over."""
        return self._task.done()

    async def end(self) -> None:
        """Wait until the stream is over. Raises what ended it, unless this client did."""
        await asyncio.wait([self._task])
        if self._failure is not None:
            raise self._failure

    async def abort(self) -> None:
        """End the stream without a word."""
        self._closing = True
        self._task.cancel()
        await asyncio.wait([self._task])

    def acknowledge(self, cursor: str) -> None:
        """Tell the server, which need not answer, that the device has everything up to `cursor`."""
        request = message_requests_pb2.AckEventsRequest(cursor=cursor)
        self._frames.put_nowait(stream_pb2.ConnectRequest(ack_events=request))

    async def aclose(self) -> None:
        """Leave the stream in good order, or by force when the server does not answer."""
        self._closing = True
        if not self.ended:
            if self.session.welcomed:
                self._frames.put_nowait(self.session.goodbye())
                # Whoever leaves wants no more events: what is still under way is read and dropped.
                self._leaving.set()
                await asyncio.wait([self._task], timeout=_GOODBYE_SECONDS)
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def takes_requests(self) -> bool:
        """Whether a request may go over this stream now, or must go by a unary call."""
        return (
            self.session.welcomed
            and not self.session.leaving
            and not self._paused
            and not self.ended
            and len(self._queue) < _WAITING_LIMIT
        )

    async def send_message(
        self, request: message_requests_pb2.SendMessageRequest, timeout_seconds: float
    ) -> message_requests_pb2.SendMessageResponse:
        """Send over the stream. Raises StreamCut when it ends first, ParleyError as the server answers."""
        return (await self._ask({"send_message": request}, timeout_seconds)).send_message

    async def mark_read(
        self, request: message_requests_pb2.MarkReadRequest, timeout_seconds: float
    ) -> message_requests_pb2.MarkReadResponse:
        """Mark as read over the stream. Raises as `send_message` does."""
        return (await self._ask({"mark_read": request}, timeout_seconds)).mark_read

    async def _ask(self, request: dict[str, Any], timeout_seconds: float) -> stream_pb2.Reply:
        if not self.takes_requests:
            raise StreamCut
        future: asyncio.Future[stream_pb2.Reply] = asyncio.get_running_loop().create_future()
        self._queue.append((request, future))
        self._pump()
        try:
            async with asyncio.timeout(timeout_seconds):
                reply = await future
        except TimeoutError:
            raise TimedOut.after(timeout_seconds) from None
        if reply.HasField("error"):
            raise error_of_status(reply.error)
        return reply

    def _pump(self) -> None:
        """Move waiting requests to the wire, in order, as far as there is room."""
        while self._queue and self.session.has_room:
            request, future = self._queue.popleft()
            if not future.done():
                frame = self.session.request(**request)
                self._pending[frame.request_id] = future
                self._frames.put_nowait(frame)

    def _cut(self) -> None:
        """Send whoever waits for an answer on its way; all requests are safe to repeat."""
        waiting = [*self._pending.values(), *(future for _, future in self._queue)]
        self._pending.clear()
        self._queue.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(StreamCut())

    async def _run(self) -> None:
        try:
            call, first, token = await self._open_call(self._hello)
            await self._serve(call, first, token)
        except Exception as failure:
            if not self._closing:  # Whoever leaves knows why the stream ends.
                self._failure = failure

    def _over(self, task: asyncio.Task[None]) -> None:
        self._cut()

    async def _serve(self, call: ConnectCall, first: stream_pb2.ConnectResponse, token: str) -> None:
        self._take(first)
        tasks = [
            asyncio.create_task(self._read(call), name="parley stream reader"),
            asyncio.create_task(self._write(call), name="parley stream writer"),
            asyncio.create_task(self._beat(), name="parley stream heartbeat"),
            asyncio.create_task(self._stay_authenticated(token), name="parley stream token"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            call.cancel()

    async def _read(self, call: ConnectCall) -> None:
        """Read until the stream ends, and raise Disconnected then."""
        failure: ParleyError | None = None
        try:
            while (frame := await call.read()) is not None:
                self._take(frame)
                if not self._sink.has_room and not self._closing:
                    await self._wait_for_room()
        except ParleyError as error:
            failure = error
        raise self.session.ended(failure) from failure

    def _take(self, frame: stream_pb2.ConnectResponse) -> None:
        pings = self.session.pings
        replies = self.session.received(frame)
        if not self._closing:
            self._sink.take(frame)
        for reply in replies:
            future = self._pending.pop(reply.request_id, None)
            if future is not None and not future.done():
                future.set_result(reply)
        if self.session.pings > pings and self._frames.qsize() < _PONGS_WAITING_LIMIT:
            self._frames.put_nowait(stream_pb2.ConnectRequest(pong=stream_pb2.Pong()))
        if self.session.token_expiring:
            self._expiring.set()
        if self.session.missing:
            raise Disconnected(
                "The server's cursor moved on and nothing came.",
                code=StatusCode.UNAVAILABLE,
                reason="STREAM_BEHIND",
            )
        self._pump()

    async def _wait_for_room(self) -> None:
        # Replies cannot be read either until the application reads on: requests go by unary calls meanwhile.
        self._paused = True
        self._cut()
        room = asyncio.ensure_future(self._sink.room())
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            await asyncio.wait([room, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            room.cancel()
            leaving.cancel()
        self.session.forget_heartbeat()
        self._paused = False

    async def _stay_authenticated(self, token: str) -> None:
        """Hand in a newer token each time the server says that the one in use runs out."""
        while True:
            await self._expiring.wait()
            try:
                newer = await self._newer_token(token)
                await self._ask(
                    {"reauthenticate": stream_pb2.Reauthenticate(access_token=newer)}, _REAUTHENTICATE_SECONDS
                )
            except (ParleyError, StreamCut):
                # If it stays so the server ends the stream, and its reason says what helps.
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            token = newer
            self.session.token_expiring = False
            self._expiring.clear()

    async def _write(self, call: ConnectCall) -> None:
        while await call.write(await self._frames.get()):
            pass
        # The call is over. Its end, with the reason, is for the reader to find.
        await asyncio.Event().wait()

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.session.heartbeat_seconds * 0.8)
            if self.session.leaving:
                continue
            if self.session.overdue(loop.time()) and not self._paused:
                raise Disconnected(
                    "The server did not answer a heartbeat.", code=StatusCode.UNAVAILABLE, reason="NO_ANSWER"
                )
            # While nothing is read no answer can come, but the lease must go on.
            frame = self.session.heartbeat(loop.time(), self._foreground, answered=not self._paused)
            if frame is not None:
                self._frames.put_nowait(frame)
