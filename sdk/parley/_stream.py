"""The open stream of a client: the shell around `Session`."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from parley._errors import Disconnected, ParleyError, TimedOut
from parley._session import ChannelHead, Session
from parley._status import error_of_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from parley._connect_call import ConnectCall
    from parley._events import Event
    from parley.chat.v1 import message_requests_pb2, stream_pb2

    Opened = tuple[ConnectCall, stream_pb2.ConnectResponse]
    OpenCall = Callable[[stream_pb2.ConnectRequest], Awaitable[Opened]]
    """Opens a call with this Hello and returns it with the first frame of the answer."""

_EVENTS_LIMIT = 1024
"""Events held for a reader that does not come. Beyond, nothing more is read from the stream, and the server
ends it as that of a slow reader when its own buffer is full."""

_WAITING_LIMIT = 1024
"""Requests that wait for room on the stream. Beyond, requests go by unary calls."""

_GOODBYE_SECONDS = 2.0


class StreamCut(Exception):
    """The request cannot be answered on this stream; whether it was carried out is unknown."""


class Stream:
    """One stream from its opening to its end. Its tasks end with it."""

    def __init__(self, open_call: OpenCall, *, client_name: str, foreground: bool) -> None:
        self._session = Session()
        self._open_call = open_call
        self._hello = self._session.hello(client_name, foreground)
        self._foreground = foreground
        self._events: deque[Event] = deque()
        self._queue: deque[tuple[dict[str, Any], asyncio.Future[stream_pb2.Reply]]] = deque()
        self._pending: dict[int, asyncio.Future[stream_pb2.Reply]] = {}
        # Bounded by the session: its requests in flight, one heartbeat, one goodbye.
        self._frames: asyncio.Queue[stream_pb2.ConnectRequest] = asyncio.Queue()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._paused = False
        self._closing = False
        self._failure: BaseException | None = None
        self._task = asyncio.create_task(self._run(), name="parley stream")
        self._task.add_done_callback(self._over)

    @property
    def ended(self) -> bool:
        """Whether the stream is over, though events that came before may wait to be read."""
        return self._task.done()

    @property
    def heads(self) -> Mapping[str, ChannelHead]:
        """The session's heads."""
        return self._session.heads

    async def ready(self) -> None:
        """Wait until the server has said all about the past. Raises what ended the stream before."""
        while not self._session.caught_up:
            if self.ended:
                self._raise_end()
                return
            await self._next_news()

    async def next_event(self) -> Event | None:
        """The next event; None at the end of a stream that this client left. Raises what else ended it."""
        while not self._events:
            if self.ended:
                self._raise_end()
                return None
            await self._next_news()
        event = self._events.popleft()
        if len(self._events) <= _EVENTS_LIMIT // 2:
            self._room.set()
        return event

    async def aclose(self) -> None:
        """Leave the stream in good order, or by force when the server does not answer."""
        self._closing = True
        if not self.ended:
            if self._session.welcomed:
                self._frames.put_nowait(self._session.goodbye())
                # Whoever leaves wants no more events: what is still under way is read and dropped.
                self._room.set()
                await asyncio.wait([self._task], timeout=_GOODBYE_SECONDS)
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def takes_requests(self) -> bool:
        """Whether a request may go over this stream now, or must go by a unary call."""
        return (
            self._session.welcomed
            and not self._session.leaving
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
        while self._queue and self._session.has_room:
            request, future = self._queue.popleft()
            if not future.done():
                frame = self._session.request(**request)
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

    def _raise_end(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _next_news(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def _run(self) -> None:
        try:
            call, first = await self._open_call(self._hello)
            await self._serve(call, first)
        except Exception as failure:
            if not self._closing:  # Whoever leaves knows why the stream ends.
                self._failure = failure

    def _over(self, task: asyncio.Task[None]) -> None:
        self._cut()
        self._news.set()

    async def _serve(self, call: ConnectCall, first: stream_pb2.ConnectResponse) -> None:
        self._take(first)
        tasks = [
            asyncio.create_task(self._read(call), name="parley stream reader"),
            asyncio.create_task(self._write(call), name="parley stream writer"),
            asyncio.create_task(self._beat(), name="parley stream heartbeat"),
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
                if len(self._events) >= _EVENTS_LIMIT and not self._closing:
                    await self._wait_for_room()
        except ParleyError as error:
            failure = error
        raise self._session.ended(failure) from failure

    def _take(self, frame: stream_pb2.ConnectResponse) -> None:
        received = self._session.received(frame)
        if not self._closing:
            self._events.extend(received.events)
        for reply in received.replies:
            future = self._pending.pop(reply.request_id, None)
            if future is not None and not future.done():
                future.set_result(reply)
        self._pump()
        self._news.set()

    async def _wait_for_room(self) -> None:
        # Replies cannot be read either until the application reads on: requests go by unary calls meanwhile.
        self._paused = True
        self._cut()
        self._room.clear()
        await self._room.wait()
        self._session.forget_heartbeat()
        self._paused = False

    async def _write(self, call: ConnectCall) -> None:
        while await call.write(await self._frames.get()):
            pass
        # The call is over. Its end, with the reason, is for the reader to find.
        await asyncio.Event().wait()

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._session.heartbeat_seconds * 0.8)
            if self._session.leaving:
                continue
            if self._session.overdue(loop.time()) and not self._paused:
                raise Disconnected(
                    "The server did not answer a heartbeat.", code=StatusCode.UNAVAILABLE, reason="NO_ANSWER"
                )
            # While nothing is read no answer can come, but the lease must go on.
            frame = self._session.heartbeat(loop.time(), self._foreground, answered=not self._paused)
            if frame is not None:
                self._frames.put_nowait(frame)
