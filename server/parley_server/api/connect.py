"""Connect and Subscribe: joins the transport's stream, the session, and the calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from parley.chat.v1 import stream_pb2
from parley_runtime.refusal import Reason, Refusal, invalid_field
from parley_server.api import frames
from parley_server.api.downstream import Downstream
from parley_server.api.interceptor import malformed
from parley_server.api.stream_requests import StreamRequests
from parley_server.api.upkeep import Upkeep
from parley_server.chat.cursor import CURSOR_LIMIT_BYTES
from parley_server.chat.farewell import Farewell, refusal_for
from parley_server.chat.framing import reply_field
from parley_server.chat.session import Phase
from parley_server.ports.routes import Route

if TYPE_CHECKING:
    from collections.abc import Collection

    from parley_server.accounts.caller import Caller
    from parley_server.api.stream_services import StreamServices
    from parley_server.ports.stream import DeviceStream

CLIENT_NAME_LIMIT_BYTES = 128
KNOWN_CHANNELS_LIMIT = 1000


class ChatStream:
    """One device's stream: a `StreamHandler` to the transport, a `Listener` to the hub, an `OpenStream` to
    the registry. To its parts it is a `StreamOwner` and an `Asker`.
    """

    __slots__ = (
        "_caller",
        "_downstream",
        "_hello_timer",
        "_leaving",
        "_requests",
        "_route",
        "_services",
        "_session",
        "_stream",
        "_subscribe",
        "_upkeep",
    )

    def __init__(self, services: StreamServices, *, subscribe: bool) -> None:
        self._services = services
        self._subscribe = subscribe
        self._downstream = Downstream(services, self)
        self._upkeep = Upkeep(services, self._downstream)
        self._session = self._downstream.session
        self._stream: DeviceStream | None = None
        self._caller: Caller | None = None
        # From Hello on.
        self._route: Route | None = None
        self._requests: StreamRequests | None = None
        self._hello_timer: asyncio.TimerHandle | None = None
        self._leaving = False

    # What the registry and the hub see

    @property
    def caller(self) -> Caller | None:
        return self._caller

    @property
    def session_id(self) -> str:
        return self._route.session_id if self._route else ""

    @property
    def user_id(self) -> str:
        return self._caller.user_id if self._caller else ""

    @property
    def device_id(self) -> str:
        return self._caller.device_id if self._caller else ""

    @property
    def droppable_bytes(self) -> int:
        return self._session.outbox.waiting_bytes if self._session.phase is Phase.LIVE else 0

    def touch(self, *, foreground: bool | None) -> None:
        self._upkeep.heard(foreground=foreground)

    def lag_now(self) -> None:
        self._downstream.lag_now()

    def tick(self, now_ms: int) -> None:
        caller, route = self._caller, self._route
        if caller is None or route is None or self._session.phase is Phase.ENDED:
            return
        acknowledged = self._requests.acknowledged if self._requests else ""
        farewell = self._upkeep.tick(caller, route, acknowledged, now_ms)
        if farewell is not None:
            self.leave(farewell, 0.0)

    def leave(self, farewell: Farewell, reconnect_after_seconds: float) -> None:
        if self._stream is None or self._session.phase is Phase.ENDED:
            return
        if farewell is Farewell.NODE_STOPPING:
            # What was answered already is told, so that the client need not ask again elsewhere.
            self._downstream.write_rest()
        resumable = farewell not in (Farewell.DEVICE_REVOKED, Farewell.ACCOUNT_SUSPENDED)
        self._downstream.write_last(
            frames.go_away(farewell, reconnect_after_seconds, (), resumable=resumable)
        )
        self.end(refusal_for(farewell, reconnect_after_seconds))

    def deliver(
        self, channel_id: str, first_seq: int, fields: Collection[bytes], position: int | None
    ) -> None:
        self._downstream.deliver(channel_id, first_seq, fields, position)

    def control(self, field: bytes, position: int) -> None:
        self._downstream.control(field, position)

    def put(self, field: bytes) -> None:
        # Nothing comes before Welcome, and who is just joining reads how things are afterwards.
        if self._downstream.joined:
            self._downstream.put(field)

    # What the transport calls

    def opened(self, stream: DeviceStream) -> None:
        self._stream = stream
        self._downstream.opened(stream)
        services = self._services
        services.metrics.streams_open.inc()
        try:
            self._caller = services.authenticator.authenticate(stream.metadata)
            services.sessions.admit(self, self._caller.user_id)
        except Refusal as refusal:
            self.end(refusal)
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
            self.end(malformed(error))
        except Refusal as refusal:
            self.end(refusal)

    def writable(self) -> None:
        self._downstream.taken()

    def half_closed(self) -> None:
        if self._session.phase is Phase.AWAITING_HELLO:
            self.end(Refusal(Reason.HELLO_REQUIRED, "The stream ended without a Hello. Send it first."))
        elif not self._subscribe:
            self._finish()

    def closed(self) -> None:
        self._services.metrics.streams_open.dec()
        self._release()
        self._services.sessions.closed(self.session_id, self)

    # What its parts call

    @property
    def epoch(self) -> str:
        return self._downstream.epoch

    def reply(self, reply: stream_pb2.Reply) -> None:
        if reply.request_id and self._session.phase is not Phase.ENDED:
            self._downstream.put(reply_field(reply.SerializeToString()))

    def reauthenticated(self, caller: Caller) -> None:
        self._caller = caller

    def joined(self) -> None:
        if self._leaving:
            self._finish()

    def answered_all(self) -> None:
        if self._leaving:
            self._finish()

    def overflowed(self) -> None:
        self.leave(Farewell.SLOW_READER, 0.0)

    def end(self, refusal: Refusal | None) -> None:
        if self._stream is None or self._session.phase is Phase.ENDED:
            return
        if refusal is None:
            self._downstream.write_rest()
        else:
            self._services.metrics.streams_ended.labels(refusal.reason.text).inc()
        self._release()
        self._stream.close(refusal)

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

    # Joining and ending

    def _hello(self, hello: stream_pb2.Hello) -> None:
        if len(hello.cursor.encode()) > CURSOR_LIMIT_BYTES:
            raise invalid_field(
                "hello.cursor", f"must have at most {CURSOR_LIMIT_BYTES} bytes: pass it as it came"
            )
        if len(hello.client.encode()) > CLIENT_NAME_LIMIT_BYTES:
            raise invalid_field("hello.client", f"must have at most {CLIENT_NAME_LIMIT_BYTES} bytes")
        if len(hello.known_channels) > KNOWN_CHANNELS_LIMIT:
            raise invalid_field("hello.known_channels", f"may name {KNOWN_CHANNELS_LIMIT} channels")
        known = {entry.channel_id: entry.seq for entry in hello.known_channels}
        if any(seq < 0 for seq in known.values()):
            raise invalid_field("hello.known_channels.seq", "must not be negative")
        caller = self._caller
        assert caller is not None
        self._forget_hello_timer()
        self.touch(foreground=hello.foreground)
        services = self._services
        session_id = services.new_session_id()
        route = Route(services.node_id, services.incarnation, caller.device_id, session_id)
        self._route = route
        self._requests = StreamRequests(services, caller, self)
        self._session.hello()
        # Listening begins before anything is read: what is committed in between is noted and follows from the
        # log.
        services.sessions.named(session_id, self)
        services.hub.add(self)
        self._downstream.join(caller.user_id, route, self._upkeep.lease_seconds, hello.cursor, known)

    def _hello_is_late(self) -> None:
        self.end(Refusal(Reason.HELLO_REQUIRED, "No Hello came in time. Send it as the first frame."))

    def _finish(self) -> None:
        """The client sends no more: answer what is in flight, Hello included, then end with OK."""
        self._leaving = True
        if self._downstream.joined and (self._requests is None or self._requests.in_flight == 0):
            self.end(None)

    def _release(self) -> None:
        caller, route = self._caller, self._route
        if self._session.phase is not Phase.ENDED and caller is not None and route is not None:
            if self._requests is not None:
                self._upkeep.store_acknowledged(caller, self._requests.acknowledged)
            self._services.sessions.store(self._services.routes.remove(caller.user_id, route))
        self._downstream.release()
        self._services.hub.remove(self)
        self._forget_hello_timer()
        if self._requests is not None:
            self._requests.cancel()

    def _forget_hello_timer(self) -> None:
        if self._hello_timer is not None:
            self._hello_timer.cancel()
            self._hello_timer = None
