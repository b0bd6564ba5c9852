"""The requests of one stream: served side by side, bounded, each with its reply."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Protocol

from parley.chat.v1 import stream_pb2
from parley_runtime.at_once import run_at_once
from parley_runtime.logs import get_logger
from parley_runtime.refusal import Reason, Refusal
from parley_runtime.status import status_of
from parley_server.api.chat import change_made, sent_message
from parley_server.api.interceptor import store_unavailable, too_large
from parley_server.chat.cursor import says_more
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parley.chat.v1 import message_requests_pb2
    from parley_server.accounts.caller import Caller
    from parley_server.api.stream_services import StreamServices
    from parley_server.chat.command import Done
    from parley_server.ports.positions import FeedCursor

log = get_logger(__name__)


class Asker(Protocol):
    """The stream on which a client asks. Plain calls on the loop."""

    @property
    def epoch(self) -> str:
        """The epoch of the stream's feed; empty before its Welcome."""
        ...

    def reply(self, reply: stream_pb2.Reply) -> None:
        """Take an answer."""
        ...

    def answered_all(self) -> None:
        """The last answer is out."""
        ...

    def touch(self, *, foreground: bool | None) -> None:
        """The client said whether it is in the foreground."""
        ...

    def reauthenticated(self, caller: Caller) -> None:
        """The client showed a newer token."""
        ...

    def end(self, refusal: Refusal | None) -> None:
        """The stream must end."""
        ...


# These cost the server nearly as much as serving them, and no rate bounds how often they are to be had.
_EXCESSES = (Reason.RATE_LIMITED, Reason.TOO_MANY_IN_FLIGHT, Reason.REQUEST_TOO_LARGE)
_PAUSE_SECONDS = 1.0

# What may wait for a store. All else is served by the stream itself.
_CALLS = frozenset(
    {
        "send_message",
        "edit_message",
        "delete_message",
        "add_reaction",
        "remove_reaction",
        "pin_message",
        "unpin_message",
        "mark_read",
    }
)


class StreamRequests:
    """Serves what a client asks on its stream. `acknowledged` is the newest cursor that the client
    acknowledged here.
    """

    __slots__ = (
        "_asker",
        "_caller",
        "_cancelled",
        "_excess",
        "_kept",
        "_queued",
        "_sending",
        "_services",
        "_tasks",
        "acknowledged",
    )

    def __init__(self, services: StreamServices, caller: Caller, asker: Asker) -> None:
        self._services = services
        self._caller = caller
        self._asker = asker
        # None where nothing is served, as on an idle stream, and before the first message is sent.
        self._tasks: set[asyncio.Task[None]] | None = None
        self._sending: asyncio.Lock | None = None
        # Messages that wait for their commit without a task.
        self._queued = 0
        self._cancelled = False
        self._kept: FeedCursor | None = None
        # Requests refused as too many or too large, less those served since.
        self._excess = 0
        self.acknowledged = ""

    @property
    def in_flight(self) -> int:
        """Requests that wait for their answers."""
        return self._queued + (len(self._tasks) if self._tasks else 0)

    def submit(self, request: stream_pb2.ConnectRequest, size_bytes: int) -> None:
        """Serve the request; its reply may come after those of later ones. What needs no store is served
        when this returns, unless the rate limiter must be waited for.
        """
        limits = self._services.limits
        kind = request.WhichOneof("request") or ""
        # Nothing is in flight meanwhile. An acknowledgement that comes with a hundred others is the newest.
        at_once = kind not in _CALLS and self._services.rates.answers_at_once
        if not at_once and self.in_flight >= limits.requests_in_flight:
            self._refuse(
                request,
                Refusal(
                    Reason.TOO_MANY_IN_FLIGHT,
                    f"{self.in_flight} requests wait for an answer. Wait for replies before sending more.",
                ),
            )
        elif size_bytes > limits.request_bytes:
            self._refuse(request, too_large(size_bytes, limits.request_bytes))
        elif at_once:
            self._serve_at_once(request, kind)
        elif self._sends_at_once(request):
            self._send(request)
        else:
            task = asyncio.get_running_loop().create_task(self._answer(request))
            if self._tasks is None:
                self._tasks = set()
            self._tasks.add(task)
            task.add_done_callback(self._answered)

    def cancel(self) -> None:
        """Answer nothing any more. What was handed to a channel is written all the same."""
        self._cancelled = True
        for task in self._tasks or ():
            task.cancel()

    # A message that nothing comes before and that asks no store, as nearly all: it needs no task.

    def _sends_at_once(self, request: stream_pb2.ConnectRequest) -> bool:
        services = self._services
        return (
            self._tasks is None
            and request.WhichOneof("request") == "send_message"
            and services.rates.answers_at_once
            and services.calls.posts_at_once(self._caller, request.send_message)
        )

    def _send(self, request: stream_pb2.ConnectRequest) -> None:
        try:
            done = run_at_once(self._queue(request.send_message))
        except Exception as error:
            self._reply(request.request_id, "send_message", error=error)
            return
        self._queued += 1
        done.add_done_callback(partial(self._sent, request.request_id))

    async def _queue(self, message: message_requests_pb2.SendMessageRequest) -> asyncio.Future[Done]:
        # One after the other up to the queue of the channel, so messages keep their order.
        async with self._in_turn():
            await self._services.rates.take("send", self._caller.user_id)
            return await self._services.calls.post(self._caller, message)

    def _sent(self, request_id: int, done: asyncio.Future[Done]) -> None:
        self._queued -= 1
        if done.cancelled():
            return
        # Looked at in any case, or asyncio reports a failure that nobody looked at.
        error = done.exception()
        if self._cancelled:
            return
        if error is None:
            reply = stream_pb2.Reply(request_id=request_id, send_message=sent_message(done.result()))
            self._succeed("send_message", reply)
        else:
            self._reply(request_id, "send_message", error=error)
        if not self.in_flight:
            self._asker.answered_all()

    # Everything else

    def _serve_at_once(self, request: stream_pb2.ConnectRequest, kind: str) -> None:
        reply = stream_pb2.Reply(request_id=request.request_id)
        try:
            run_at_once(self._serve(request, kind, reply))
        except Exception as error:
            self._reply(request.request_id, kind, error=error)
        else:
            self._succeed(kind, reply)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._forget(task)
        if not self.in_flight and not task.cancelled():
            self._asker.answered_all()

    def _forget(self, task: asyncio.Task[None]) -> None:
        if self._tasks is not None:
            self._tasks.discard(task)
            self._tasks = self._tasks or None

    async def _answer(self, request: stream_pb2.ConnectRequest) -> None:
        kind = request.WhichOneof("request") or ""
        reply = stream_pb2.Reply(request_id=request.request_id)
        failure = None
        try:
            if kind == "send_message":
                done = await self._queue(request.send_message)
                reply.send_message.CopyFrom(sent_message(await done))
            else:
                await self._serve(request, kind, reply)
        except Exception as error:
            failure = error
        # Who reads the reply may send the next request before this task is quite through.
        if (task := asyncio.current_task()) is not None:
            self._forget(task)
        if failure is None:
            self._succeed(kind, reply)
        else:
            self._reply(request.request_id, kind, error=failure)

    async def _serve(self, request: stream_pb2.ConnectRequest, kind: str, reply: stream_pb2.Reply) -> None:
        caller, services = self._caller, self._services
        match kind:
            case (
                "edit_message"
                | "delete_message"
                | "add_reaction"
                | "remove_reaction"
                | "pin_message"
                | "unpin_message"
            ):
                # Behind the messages sent before it.
                async with self._in_turn():
                    await services.rates.take("send", caller.user_id)
                    done = await services.calls.change(caller, getattr(request, kind))
                getattr(reply, kind).change.CopyFrom(change_made(await done))
            case "mark_read":
                await services.rates.take("call", caller.user_id)
                reply.mark_read.CopyFrom(await services.calls.mark_read(caller, request.mark_read))
            case _:
                await services.rates.take("frame", caller.user_id)
                self._heed(request, kind, reply)

    def _heed(self, request: stream_pb2.ConnectRequest, kind: str, reply: stream_pb2.Reply) -> None:
        """Serve what needs no store."""
        caller, services = self._caller, self._services
        match kind:
            case "ack_events":
                offered = services.calls.check_cursor(caller, request.ack_events)
                # They may come late and in any order, and the last before the storing is not the newest.
                if says_more(offered, self._kept, self._asker.epoch):
                    self._kept, self.acknowledged = offered, request.ack_events.cursor
                reply.ack_events.SetInParent()
            case "heartbeat":
                self._asker.touch(foreground=request.heartbeat.foreground)
                reply.heartbeat.CopyFrom(services.calls.heartbeat())
            case "pong":
                pass
            case "reauthenticate":
                fresh = services.authenticator.authenticate(_bearer(request.reauthenticate.access_token))
                if (fresh.user_id, fresh.device_id) != (caller.user_id, caller.device_id):
                    raise Refusal(
                        Reason.TOKEN_INVALID, "The token is of another device. Refresh this device's own."
                    )
                if fresh.expire_time_ms <= services.clock.now_ms():
                    # Calls have a leeway, a stream has none: it would end at once.
                    raise Refusal(
                        Reason.TOKEN_EXPIRED, "The access token has expired. Call Refresh for a new one."
                    )
                if fresh.expire_time_ms > caller.expire_time_ms:
                    # Renewals may overtake each other: an older token must not shorten the stream's life.
                    self._caller = fresh
                    self._asker.reauthenticated(fresh)
                reply.reauthenticate.expire_time.FromMilliseconds(self._caller.expire_time_ms)
            case _:
                raise Refusal(
                    Reason.UNKNOWN_REQUEST,
                    "The frame carries no request that this server knows. Check the client's version.",
                )

    def _in_turn(self) -> asyncio.Lock:
        if self._sending is None:
            self._sending = asyncio.Lock()
        return self._sending

    def _succeed(self, kind: str, reply: stream_pb2.Reply) -> None:
        if self._excess:
            self._excess -= 1
        self._services.metrics.counts.count_stream_request(kind, "OK")
        self._asker.reply(reply)

    def _refuse(self, request: stream_pb2.ConnectRequest, refusal: Refusal) -> None:
        self._reply(request.request_id, request.WhichOneof("request") or "", error=refusal)

    def _reply(self, request_id: int, kind: str, *, error: BaseException) -> None:
        if isinstance(error, Refusal):
            refusal = error
        elif isinstance(error, StoreUnavailable):
            refusal = store_unavailable(kind, error)
        else:
            error_id = self._services.new_error_id()
            log.error("stream request failed", request=kind, error_id=error_id, exc_info=error)
            text = f"The server failed. Report this id to its operators: {error_id}"
            refusal = Refusal(Reason.INTERNAL, text)
        self._services.metrics.counts.count_stream_request(kind, refusal.reason.code.name)
        self._asker.reply(stream_pb2.Reply(request_id=request_id, error=status_of(refusal)))
        if refusal.reason in _EXCESSES:
            self._exceed(refusal.retry_after_seconds or 0.0)

    def _exceed(self, retry_after_seconds: float) -> None:
        self._excess += 1
        if self._excess > self._services.limits.refusals_per_stream:
            text = (
                f"{self._excess} requests more were refused as too many or too large than were served. "
                "Wait as long as you are told before asking again."
            )
            retry_after_seconds = max(retry_after_seconds, _PAUSE_SECONDS)
            self._asker.end(Refusal(Reason.RATE_LIMITED, text, retry_after_seconds=retry_after_seconds))


def _bearer(token: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {token}"}
