"""Connect and Subscribe: joins the transport's stream, the session, and the calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from google.protobuf.message import DecodeError

from parley.chat.v1 import stream_pb2
from parley_runtime.refusal import Reason, Refusal, invalid_field
from parley_server.api import frames
from parley_server.api.interceptor import malformed, store_unavailable
from parley_server.api.stream_requests import StreamRequests
from parley_server.chat.cursor import CURSOR_LIMIT_BYTES, cursor_prefix
from parley_server.chat.farewell import Farewell, refusal_for
from parley_server.chat.framing import cursor_field, reply_field
from parley_server.chat.outbox import OutboxLimits
from parley_server.chat.resume import Replayed
from parley_server.chat.session import Phase, Session, Verdict
from parley_server.ports.feed import EpochChanged
from parley_server.ports.message_log import StoreUnavailable
from parley_server.ports.routes import Route

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine

    from parley_server.accounts.caller import Caller
    from parley_server.api.stream_services import StreamServices
    from parley_server.chat.joining import Joining
    from parley_server.ports.stream import DeviceStream

CLIENT_NAME_LIMIT_BYTES = 128
KNOWN_CHANNELS_LIMIT = 1000
FIELDS_LIMIT = 2048

log = structlog.get_logger()


class StreamGone(Exception):
    """The stream ended while something was being prepared for it."""


class ChatStream:
    """One device's stream: a `StreamHandler` to the transport, a `Listener` to the hub, an `OpenStream` to
    the registry.
    """

    def __init__(self, services: StreamServices, *, subscribe: bool) -> None:
        self._services = services
        self._subscribe = subscribe
        limits = services.limits
        self._session = Session(OutboxLimits(limits.outbox_events, limits.outbox_bytes, limits.frame_bytes))
        self._stream: DeviceStream | None = None
        self._caller: Caller | None = None
        self._session_id = ""
        self._cursor_prefix = ""
        self._epoch = ""
        self._requests: StreamRequests | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writable = True
        self._blocked_since: float | None = None
        self._drained: asyncio.Future[None] | None = None
        self._hello_timer: asyncio.TimerHandle | None = None
        self._position_timer: asyncio.TimerHandle | None = None
        self._heard_at = self._pinged_at = self._stored_at = services.clock.monotonic()
        self._stored_cursor = ""
        self._warned = False
        self._foreground = True
        self._leaving = False
        self._joining = False
        self._counted_bytes = 0

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

    @property
    def waiting_bytes(self) -> int:
        return self._session.outbox.waiting_bytes

    def touch(self, *, foreground: bool | None) -> None:
        self._heard_at = self._services.clock.monotonic()
        if foreground is not None:
            self._foreground = foreground

    def lag_now(self) -> None:
        if self._session.phase is Phase.LIVE:
            self._session.lag_now()
            self._obey(Verdict.LAGGING)

    def tick(self, monotonic: float, now_ms: int) -> None:
        settings = self._services.session_settings
        caller, session = self._caller, self._session
        if caller is None or session.phase in (Phase.AWAITING_HELLO, Phase.ENDED):
            return
        lease_seconds = self._lease_seconds()
        if now_ms >= caller.expire_time_ms:
            self.leave(Farewell.TOKEN_EXPIRED, 0.0)
        elif monotonic - self._heard_at > lease_seconds:
            self.leave(Farewell.LEASE_EXPIRED, 0.0)
        elif (
            self._blocked_since is not None and monotonic - self._blocked_since > settings.slow_reader_seconds
        ):
            self.leave(Farewell.SLOW_READER, 0.0)
        elif session.phase is not Phase.JOINING:
            self._remind(monotonic, now_ms, caller)

    def leave(self, farewell: Farewell, reconnect_after_seconds: float) -> None:
        if self._stream is None or self._session.phase is Phase.ENDED:
            return
        if farewell is Farewell.NODE_STOPPING:
            # What was answered already is told, so that the client need not ask again elsewhere.
            while len(self._session.outbox):
                self._stream.send_encoded(self._session.next_frame().message)
        resumable = farewell not in (Farewell.DEVICE_REVOKED, Farewell.ACCOUNT_SUSPENDED)
        field = frames.go_away(farewell, reconnect_after_seconds, (), resumable=resumable)
        self._stream.send_encoded(field)
        self._end(refusal_for(farewell, reconnect_after_seconds))

    def deliver(
        self, channel_id: str, first_seq: int, fields: Collection[bytes], position: int | None
    ) -> None:
        self._services.metrics.events_delivered.inc(len(fields))
        self._obey(self._session.deliver(channel_id, first_seq, fields, position))

    def control(self, field: bytes, position: int | None) -> None:
        # While joining, Welcome must come first; the heads and the feed that are read then know of it.
        if self._session.phase in (Phase.LIVE, Phase.CATCHING_UP):
            self._put(field, position)

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
        self._blocked_since = None
        if self._session.phase is not Phase.ENDED:
            self._flush()

    def half_closed(self) -> None:
        if self._session.phase is Phase.AWAITING_HELLO:
            self._end(Refusal(Reason.HELLO_REQUIRED, "The stream ended without a Hello. Send it first."))
        elif not self._subscribe:
            self._finish()

    def closed(self) -> None:
        self._services.metrics.streams_open.dec()
        self._release()
        self._services.sessions.closed(self._session_id, self)

    # Requests

    def _request(self, request: stream_pb2.ConnectRequest, size_bytes: int) -> None:
        kind = request.WhichOneof("request")
        if self._requests is None:
            if kind != "hello":
                raise Refusal(Reason.HELLO_REQUIRED, "The first frame must be a Hello.")
            self._hello(request.hello)
        elif kind == "hello":
            raise Refusal(Reason.HELLO_REPEATED, "A stream has one Hello, as its first frame.")
        elif kind == "goodbye":
            self._finish()
        else:
            self._requests.submit(request, size_bytes)

    def _reply(self, reply: stream_pb2.Reply) -> None:
        if reply.request_id and self._session.phase is not Phase.ENDED:
            self._put(reply_field(reply.SerializeToString()))

    def _requests_idle(self) -> None:
        if self._leaving:
            self._finish()

    def _reauthenticated(self, caller: Caller) -> None:
        self._caller = caller
        self._warned = False

    # Joining and catching up

    def _hello(self, hello: stream_pb2.Hello) -> None:
        if len(hello.cursor.encode()) > CURSOR_LIMIT_BYTES:
            raise invalid_field(
                "hello.cursor", f"must have at most {CURSOR_LIMIT_BYTES} bytes: pass it as it came"
            )
        if len(hello.client.encode()) > CLIENT_NAME_LIMIT_BYTES:
            raise invalid_field("hello.client", f"must have at most {CLIENT_NAME_LIMIT_BYTES} bytes")
        if len(hello.known_channels) > KNOWN_CHANNELS_LIMIT:
            raise invalid_field("hello.known_channels", f"may name {KNOWN_CHANNELS_LIMIT} channels")
        if any(known.seq < 0 for known in hello.known_channels):
            raise invalid_field("hello.known_channels.seq", "must not be negative")
        caller = self._caller
        assert caller is not None
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        self.touch(foreground=hello.foreground)
        self._session_id = self._services.new_session_id()
        self._requests = StreamRequests(
            self._services,
            caller,
            self._session_id,
            reply=self._reply,
            idle=self._requests_idle,
            touch=lambda foreground: self.touch(foreground=foreground),
            reauthenticated=self._reauthenticated,
        )
        self._session.hello()
        # Listening begins before anything is read: what is committed in between is noted and follows from the
        # log.
        self._services.sessions.named(self._session_id, self)
        self._services.hub.add(self)
        self._joining = True
        self._start(self._join(caller, hello))

    def _hello_is_late(self) -> None:
        self._end(Refusal(Reason.HELLO_REQUIRED, "No Hello came in time. Send it as the first frame."))

    async def _join(self, caller: Caller, hello: stream_pb2.Hello) -> None:
        services = self._services
        try:
            await services.rates.take("stream", caller.user_id)
            await services.routes.add(
                caller.user_id, self._route(caller), lease_seconds=self._lease_seconds()
            )
            known = {entry.channel_id: entry.seq for entry in hello.known_channels}
            joining = await services.joins.read(caller.user_id, caller.device_id, hello.cursor, known)
            await self._begin(caller, joining)
            await self._catch_up_now(caller)
            self._joining = False
            if self._leaving:
                self._finish()
        except StreamGone:
            pass
        except Refusal as refusal:
            self._end(refusal)
        except StoreUnavailable as error:
            self._end(store_unavailable("join", error))
        except Exception as error:
            self._end_by_defect("stream could not join", error)

    async def _begin(self, caller: Caller, joining: Joining) -> None:
        self._epoch = joining.cursor.epoch
        self._cursor_prefix = cursor_prefix(caller.user_id, self._epoch)
        services = self._services
        self._put(
            frames.welcome(
                caller.user_id,
                self._session_id,
                services.node_id,
                joining,
                services.limits,
                services.session_settings,
                services.clock.now_ms(),
            )
        )
        for page in frames.digests(joining.told):
            await self._room(len(page))
            self._put(page)
        heads = ((head.channel_id, head.head_seq) for head in joining.heads)
        match joining.resume:
            case Replayed(position=position, since=since):
                self._session.join(position, heads, since)
            case _:
                self._session.join(joining.cursor.position, heads, {})

    async def _catch_up(self, caller: Caller) -> None:
        try:
            await self._catch_up_now(caller)
        except StreamGone:
            pass
        except (StoreUnavailable, EpochChanged) as error:
            self._end(store_unavailable("catch up", StoreUnavailable(str(error))))
        except Exception as error:
            self._end_by_defect("stream could not catch up", error)

    async def _catch_up_now(self, caller: Caller) -> None:
        await self._services.catch_up.run(self._session, caller.user_id, self._epoch, self._room)
        self._session.put(frames.caught_up())
        # Heads and events before this are in the queue: the cursor that covers them may follow.
        self._session.outbox.reach(self._session.position)
        self._flush()

    async def _room(self, size_bytes: int) -> None:
        """Hand out what waits and wait until there is room for so much more. Raises StreamGone."""
        self._flush()
        outbox = self._session.outbox
        while not (outbox.has_room and outbox.takes(size_bytes)):
            if self._session.phase is Phase.ENDED:
                raise StreamGone
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)
        if self._session.phase is Phase.ENDED:
            raise StreamGone

    def _positions_are_late(self) -> None:
        self._position_timer = None
        if self._session.waits_for_positions:
            self._session.suspect()
            self._obey(Verdict.MISSING)

    # Writing and ending

    def _put(self, field: bytes, position: int | None = None) -> None:
        if len(self._session.outbox) >= FIELDS_LIMIT:
            # Events are bounded by lagging; replies and controls only by a client that reads them.
            self.leave(Farewell.SLOW_READER, 0.0)
            return
        self._obey(self._session.put(field, position))

    def _obey(self, verdict: Verdict) -> None:
        caller = self._caller
        if verdict is not Verdict.PASSED:
            self._flush()
        if verdict in (Verdict.TAKEN, Verdict.PASSED) or caller is None:
            if self._session.waits_for_positions and self._position_timer is None:
                self._position_timer = asyncio.get_running_loop().call_later(
                    self._services.session_settings.missing_position_seconds, self._positions_are_late
                )
            return
        if verdict is Verdict.LAGGING and self._session.lag is not None:
            self._services.metrics.streams_lagged.inc()
            self._session.put(frames.lagging(self._session.lag))
        self._start(self._catch_up(caller))

    def _flush(self) -> None:
        session = self._session
        while self._writable and len(session.outbox) and self._stream is not None:
            frame = session.next_frame()
            message = frame.message
            if frame.position is not None:
                message += cursor_field(f"{self._cursor_prefix}{frame.position}")
            self._services.metrics.frames_sent.inc()
            self._writable = self._stream.send_encoded(message)
        if not self._writable and self._blocked_since is None:
            self._blocked_since = self._services.clock.monotonic()
        if self._drained is not None and session.outbox.has_room:
            self._drained.set_result(None)
            self._drained = None
        if self._counted_bytes != session.outbox.waiting_bytes:
            change = session.outbox.waiting_bytes - self._counted_bytes
            self._counted_bytes += change
            self._services.sessions.waiting_changed(change)

    def _remind(self, monotonic: float, now_ms: int, caller: Caller) -> None:
        settings = self._services.session_settings
        left_seconds = (caller.expire_time_ms - now_ms) / 1000
        if left_seconds < settings.token_warning_seconds and not self._warned:
            self._warned = True
            self._put(frames.auth_expiring(caller.expire_time_ms))
        if monotonic - self._pinged_at >= settings.heartbeat_seconds:
            self._pinged_at = monotonic
            self._start(self._ping(caller))
        if monotonic - self._stored_at >= settings.acknowledge_seconds:
            self._stored_at = monotonic
            self._store_acknowledged()

    async def _ping(self, caller: Caller) -> None:
        try:
            cursor = await self._services.joins.cursor(caller.user_id)
            await self._services.routes.add(
                caller.user_id, self._route(caller), lease_seconds=self._lease_seconds()
            )
        except StoreUnavailable:
            # Feeds and routes may be gone for a while; the client's own frames keep the lease here.
            return
        if self._session.phase is Phase.LIVE:
            self._put(frames.ping(cursor))

    def _store_acknowledged(self) -> None:
        caller = self._caller
        cursor = self._requests.acknowledged if self._requests else ""
        if caller is not None and cursor and cursor != self._stored_cursor:
            self._stored_cursor = cursor
            self._services.sessions.store(self._services.calls.acknowledge(caller, cursor))

    def _finish(self) -> None:
        """The client sends no more: answer what is in flight, Hello included, then end with OK."""
        self._leaving = True
        if not self._joining and (self._requests is None or self._requests.in_flight == 0):
            self._end(None)

    def _end_by_defect(self, what: str, error: Exception) -> None:
        error_id = self._services.new_error_id()
        log.error(what, error_id=error_id, exc_info=error)
        self._end(Refusal(Reason.INTERNAL, f"The server failed. Report this id to its operators: {error_id}"))

    def _end(self, refusal: Refusal | None) -> None:
        if self._stream is None or self._session.phase is Phase.ENDED:
            return
        if refusal is None:
            while len(self._session.outbox):
                self._stream.send_encoded(self._session.next_frame().message)
        else:
            self._services.metrics.streams_ended.labels(refusal.reason.text).inc()
        self._release()
        self._stream.close(refusal)

    def _release(self) -> None:
        if self._session.phase is not Phase.ENDED:
            self._store_acknowledged()
            if self._caller is not None and self._session_id:
                self._services.sessions.store(
                    self._services.routes.remove(self._caller.user_id, self._route(self._caller))
                )
        self._session.end()
        self._services.hub.remove(self)
        self._services.sessions.waiting_changed(-self._counted_bytes)
        self._counted_bytes = 0
        for timer in (self._hello_timer, self._position_timer):
            if timer is not None:
                timer.cancel()
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
        if self._requests is not None:
            self._requests.cancel()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _lease_seconds(self) -> float:
        settings = self._services.session_settings
        return settings.lease_seconds if self._foreground else settings.background_lease_seconds

    def _route(self, caller: Caller) -> Route:
        services = self._services
        return Route(services.node_id, services.incarnation, caller.device_id, self._session_id)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
