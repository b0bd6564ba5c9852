"""Connect and Subscribe: joins the transport's stream, the session, and the calls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from google.protobuf.message import DecodeError

from parley.chat.v1 import stream_pb2
from parley_runtime.refusal import Reason, Refusal, invalid_field
from parley_runtime.status import status_of
from parley_server.api import convert
from parley_server.api.chat import ChatCalls, sent_message
from parley_server.api.interceptor import malformed, store_unavailable, too_large
from parley_server.chat.farewell import Farewell, refusal_for
from parley_server.chat.framing import control_field, reply_field
from parley_server.chat.outbox import OutboxLimits
from parley_server.chat.session import Phase, Session, Verdict
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine

    from parley_runtime.clock import Clock
    from parley_runtime.metrics import Metrics
    from parley_runtime.settings import Limits
    from parley_runtime.settings import Sessions as SessionSettings
    from parley_server.accounts.authenticator import Authenticator
    from parley_server.accounts.caller import Caller
    from parley_server.api.rates import RateCheck
    from parley_server.api.sessions import Sessions
    from parley_server.chat.hub import Hub
    from parley_server.chat.inbox import Inbox
    from parley_server.ports.stream import DeviceStream

CURSOR_LIMIT_BYTES = 256
CLIENT_NAME_LIMIT_BYTES = 128
# A head takes about 60 to 110 bytes; a page of this many stays well below a frame.
HEADS_PER_DIGEST = 400

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StreamServices:
    """What a chat stream works with. `new_session_id` and `new_error_id` make fresh opaque ids."""

    node_id: str
    authenticator: Authenticator
    rates: RateCheck
    calls: ChatCalls
    inbox: Inbox
    hub: Hub
    sessions: Sessions
    clock: Clock
    metrics: Metrics
    limits: Limits
    session_settings: SessionSettings
    new_session_id: Callable[[], str]
    new_error_id: Callable[[], str]


class ChatStream:
    """One device's stream: a `StreamHandler` to the transport, a `Listener` to the hub, an `OpenStream` to
    the registry.
    """

    def __init__(self, services: StreamServices, *, subscribe: bool) -> None:
        self._services = services
        self._subscribe = subscribe
        self._session = Session(
            OutboxLimits(
                services.limits.outbox_events, services.limits.outbox_bytes, services.limits.frame_bytes
            )
        )
        self._stream: DeviceStream | None = None
        self._caller: Caller | None = None
        self._session_id = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._sending = asyncio.Lock()
        self._writable = True
        self._drained: asyncio.Future[None] | None = None
        self._hello_timer: asyncio.TimerHandle | None = None
        self._heard_at = services.clock.monotonic()
        self._foreground = True
        self._leaving = False

    # What the registry and the hub see

    @property
    def caller(self) -> Caller | None:
        return self._caller

    @property
    def session_id(self) -> str:
        return self._session_id

    @property
    def user_id(self) -> str:
        return self._caller.user_id if self._caller else ""

    @property
    def device_id(self) -> str:
        return self._caller.device_id if self._caller else ""

    def touch(self, *, foreground: bool | None) -> None:
        self._heard_at = self._services.clock.monotonic()
        if foreground is not None:
            self._foreground = foreground

    def check_lease(self, monotonic: float, now_ms: int) -> None:
        settings = self._services.session_settings
        lease_seconds = settings.lease_seconds if self._foreground else settings.background_lease_seconds
        if self._caller is not None and now_ms >= self._caller.expire_time_ms:
            self.leave(Farewell.TOKEN_EXPIRED, 0.0)
        elif self._session.phase is not Phase.AWAITING_HELLO and monotonic - self._heard_at > lease_seconds:
            self.leave(Farewell.LEASE_EXPIRED, 0.0)

    def leave(self, farewell: Farewell, reconnect_after_seconds: float) -> None:
        if self._stream is None or self._session.phase is Phase.ENDED:
            return
        go_away = stream_pb2.GoAway(reason=farewell.value)  # type: ignore[arg-type]
        go_away.reconnect_after.FromNanoseconds(int(reconnect_after_seconds * 1e9))
        control = stream_pb2.Control(go_away=go_away)
        self._stream.send_encoded(control_field(control.SerializeToString()))
        self._end(refusal_for(farewell, reconnect_after_seconds))

    def deliver(self, channel_id: str, first_seq: int, fields: Collection[bytes]) -> None:
        self._services.metrics.events_delivered.inc(len(fields))
        self._obey(self._session.deliver(channel_id, first_seq, fields))

    def depart(self, channel_id: str, seq: int) -> None:
        self._session.depart(channel_id, seq)

    def control(self, field: bytes) -> None:
        if self._session.phase is Phase.LIVE:
            self._put(field)

    # What the transport calls

    def opened(self, stream: DeviceStream) -> None:
        self._stream = stream
        services = self._services
        services.metrics.streams_open.inc()
        try:
            services.sessions.admit(self)
            self._caller = services.authenticator.authenticate(stream.metadata)
        except Refusal as refusal:
            self._end(refusal)
            return
        self._hello_timer = asyncio.get_running_loop().call_later(
            services.session_settings.hello_seconds, self._hello_is_late
        )

    def received(self, message: bytes) -> None:
        if self._session.phase is Phase.ENDED or self._leaving:
            return
        self.touch(foreground=None)
        try:
            if self._subscribe:
                self._hello(stream_pb2.SubscribeRequest.FromString(message).hello)
            else:
                self._request(stream_pb2.ConnectRequest.FromString(message), len(message))
        except DecodeError as error:
            self._end(malformed(error))
        except Refusal as refusal:
            self._end(refusal)

    def writable(self) -> None:
        self._writable = True
        if self._session.phase is not Phase.ENDED:
            self._flush()

    def half_closed(self) -> None:
        if not self._subscribe:
            self._finish()

    def closed(self) -> None:
        self._services.metrics.streams_open.dec()
        self._release()
        self._services.sessions.closed(self._session_id, self)

    # Requests

    def _request(self, request: stream_pb2.ConnectRequest, size_bytes: int) -> None:
        kind = request.WhichOneof("request")
        if self._session.phase is Phase.AWAITING_HELLO:
            if kind != "hello":
                raise Refusal(Reason.HELLO_REQUIRED, "The first frame must be a Hello.")
            self._hello(request.hello)
            return
        if kind == "hello":
            raise Refusal(Reason.HELLO_REPEATED, "A stream has one Hello, as its first frame.")
        if kind == "goodbye":
            self._finish()
            return
        if self._in_flight >= self._services.limits.requests_in_flight:
            self._refuse(
                request,
                Refusal(
                    Reason.TOO_MANY_IN_FLIGHT,
                    f"{self._in_flight} requests wait for an answer. Wait for replies before sending more.",
                ),
            )
            return
        if size_bytes > self._services.limits.request_bytes:
            self._refuse(request, too_large(size_bytes, self._services.limits.request_bytes))
            return
        self._in_flight += 1
        self._start(self._answer(request, kind or ""))

    async def _answer(self, request: stream_pb2.ConnectRequest, kind: str) -> None:
        reply = stream_pb2.Reply(request_id=request.request_id)
        code = "OK"
        try:
            await self._serve(request, kind, reply)
        except Refusal as refusal:
            code = refusal.reason.code.name
            reply.error.CopyFrom(status_of(refusal))
        except StoreUnavailable as error:
            code = "UNAVAILABLE"
            reply.error.CopyFrom(status_of(store_unavailable(kind, error)))
        except Exception as error:
            code = "INTERNAL"
            error_id = self._services.new_error_id()
            log.error("stream request failed", request=kind, error_id=error_id, exc_info=error)
            text = f"The server failed. Report this id to its operators: {error_id}"
            reply.error.CopyFrom(status_of(Refusal(Reason.INTERNAL, text)))
        finally:
            self._in_flight -= 1
        self._services.metrics.stream_requests.labels(kind, code).inc()
        self._reply(reply)
        if self._leaving and self._in_flight == 0:
            self._end(None)

    async def _serve(self, request: stream_pb2.ConnectRequest, kind: str, reply: stream_pb2.Reply) -> None:
        caller, services = self._caller, self._services
        assert caller is not None
        match kind:
            case "send_message":
                # One after the other up to the queue of the channel: messages keep the order in which they
                # came.
                async with self._sending:
                    await services.rates.take("send", caller.user_id)
                    done = services.calls.post(caller, request.send_message)
                reply.send_message.CopyFrom(sent_message(await done))
            case "mark_read":
                await services.rates.take("call", caller.user_id)
                reply.mark_read.CopyFrom(await services.calls.mark_read(caller, request.mark_read))
            case "heartbeat":
                self.touch(foreground=request.heartbeat.foreground)
                reply.heartbeat.CopyFrom(services.calls.heartbeat())
            case _:
                raise Refusal(
                    Reason.UNKNOWN_REQUEST,
                    "The frame carries no request that this server knows. Check the client's version.",
                )

    def _refuse(self, request: stream_pb2.ConnectRequest, refusal: Refusal) -> None:
        self._services.metrics.stream_requests.labels(
            request.WhichOneof("request") or "", refusal.reason.code.name
        ).inc()
        self._reply(stream_pb2.Reply(request_id=request.request_id, error=status_of(refusal)))

    def _reply(self, reply: stream_pb2.Reply) -> None:
        if reply.request_id and self._session.phase is not Phase.ENDED:
            self._put(reply_field(reply.SerializeToString()))

    # Joining

    def _hello(self, hello: stream_pb2.Hello) -> None:
        if len(hello.cursor.encode()) > CURSOR_LIMIT_BYTES:
            raise invalid_field(
                "hello.cursor", f"must have at most {CURSOR_LIMIT_BYTES} bytes: pass it as it came"
            )
        if len(hello.client.encode()) > CLIENT_NAME_LIMIT_BYTES:
            raise invalid_field("hello.client", f"must have at most {CLIENT_NAME_LIMIT_BYTES} bytes")
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        self.touch(foreground=hello.foreground)
        self._session_id = self._services.new_session_id()
        self._session.hello()
        # Listening begins before the heads are read: what is committed in between is spliced in by seq.
        self._services.sessions.named(self._session_id, self)
        self._services.hub.add(self)
        self._start(self._join(bool(hello.cursor)))

    def _hello_is_late(self) -> None:
        self._end(Refusal(Reason.HELLO_REQUIRED, "No Hello came in time. Send it as the first frame."))

    async def _join(self, had_cursor: bool) -> None:
        caller = self._caller
        assert caller is not None
        try:
            await self._services.rates.take("stream", caller.user_id)
            self._put(self._welcome(had_cursor))
            known: list[tuple[str, int]] = []
            async for page in self._services.inbox.heads(caller.user_id):
                for start in range(0, len(page), HEADS_PER_DIGEST):
                    heads = [
                        convert.head_message(row, read)
                        for row, read in page[start : start + HEADS_PER_DIGEST]
                    ]
                    known.extend((head.channel_id, head.head_seq) for head in heads)
                    digest = stream_pb2.Control(digest=stream_pb2.Digest(heads=heads))
                    await self._room()
                    self._put(control_field(digest.SerializeToString()))
            self._obey(self._session.join(known))
            self._put(control_field(stream_pb2.Control(caught_up=stream_pb2.CaughtUp()).SerializeToString()))
        except Refusal as refusal:
            self._end(refusal)
        except StoreUnavailable as error:
            self._end(store_unavailable("join", error))
        except Exception as error:
            error_id = self._services.new_error_id()
            log.error("stream could not join", error_id=error_id, exc_info=error)
            self._end(
                Refusal(Reason.INTERNAL, f"The server failed. Report this id to its operators: {error_id}")
            )

    def _welcome(self, had_cursor: bool) -> bytes:
        limits, settings = self._services.limits, self._services.session_settings
        reason = stream_pb2.RESET_REASON_NOT_SUPPORTED if had_cursor else stream_pb2.RESET_REASON_NO_CURSOR
        welcome = stream_pb2.Welcome(
            session_id=self._session_id,
            node_id=self._services.node_id,
            reset=stream_pb2.Reset(reason=reason),
            limits=stream_pb2.Limits(
                text_code_points=limits.text_code_points,
                request_bytes=limits.request_bytes,
                requests_in_flight=limits.requests_in_flight,
            ),
        )
        welcome.heartbeat_interval.FromNanoseconds(int(settings.heartbeat_seconds * 1e9))
        welcome.server_time.FromMilliseconds(self._services.clock.now_ms())
        return control_field(stream_pb2.Control(welcome=welcome).SerializeToString())

    async def _room(self) -> None:
        """Wait until what was put has been handed to the transport."""
        while not self._writable and self._session.phase is not Phase.ENDED:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    # Writing and ending

    def _put(self, field: bytes) -> None:
        self._obey(self._session.put(field))

    def _obey(self, verdict: Verdict) -> None:
        match verdict:
            case Verdict.TAKEN:
                self._flush()
            case Verdict.TOO_SLOW:
                self.leave(Farewell.SLOW_READER, 0.0)
            case Verdict.GAP:
                # A hole is never passed on: the client comes back and is told where every log ends.
                log.error("gap in live delivery", session_id=self._session_id)
                self.leave(Farewell.SLOW_READER, 0.0)

    def _flush(self) -> None:
        outbox = self._session.outbox
        while self._writable and len(outbox) and self._stream is not None:
            self._services.metrics.frames_sent.inc()
            self._writable = self._stream.send_encoded(outbox.next_frame())
        if self._writable and self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _finish(self) -> None:
        """The client sends no more: answer what is in flight, then end with OK."""
        self._leaving = True
        if self._in_flight == 0:
            self._end(None)

    def _end(self, refusal: Refusal | None) -> None:
        if self._stream is None or self._session.phase is Phase.ENDED:
            return
        if refusal is None:
            while len(self._session.outbox):
                self._stream.send_encoded(self._session.outbox.next_frame())
        else:
            self._services.metrics.streams_ended.labels(refusal.reason.text).inc()
        self._release()
        self._stream.close(refusal)

    def _release(self) -> None:
        self._session.end()
        self._services.hub.remove(self)
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        if self._drained is not None:
            self._drained.cancel()
            self._drained = None
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
