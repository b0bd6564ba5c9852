"""What all parts of a client share: the gRPC channel, the token, calls that are repeated, the stream."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
from grpc import StatusCode

from parley._client_status import ClientStatus, Phase
from parley._connect_call import ConnectCall
from parley._errors import Disconnected, ParleyError, TimedOut
from parley._event_stream import EventStream
from parley._follower import Follower
from parley._outbox import Outbox
from parley._patience import Patience, persist
from parley._position import Position
from parley._reasons import TokenExpired
from parley._renewal import Renewal
from parley._servers import Servers, speaks_of_the_server
from parley._status import error_of_call
from parley._stream import Stream, StreamCut
from parley._transport import Tls, Transport
from parley.admin.v1 import admin_service_pb2_grpc
from parley.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from parley.channel.v1 import channel_service_pb2_grpc
from parley.chat.v1 import chat_service_pb2_grpc
from parley.user.v1 import user_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from google.protobuf.message import Message

    from parley._sent import Outcome
    from parley._session import Session
    from parley._state import State
    from parley._stream import Opened
    from parley._tokens import Tokens
    from parley.chat.v1 import chat_service_pb2, message_requests_pb2, stream_pb2

Request = TypeVar("Request", bound="Message")
Response = TypeVar("Response", bound="Message")
Item = TypeVar("Item")

_ATTEMPTS_LIMIT = 5
_ATTEMPT_SECONDS = 10.0
_REFRESH_SECONDS = 20.0
"""A used refresh token works for 30 s more, so repeating must end well before."""


async def call_once(
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    timeout_seconds: float,
    access_token: str = "",
) -> Response:
    """Make one unary call. Raises ParleyError when it fails."""
    metadata = (("authorization", f"Bearer {access_token}"),) if access_token else ()
    try:
        return await method(request, timeout=timeout_seconds, metadata=metadata)
    except grpc.aio.AioRpcError as failure:
        raise error_of_call(failure) from None


async def _next_answer(call: grpc.aio.UnaryStreamCall[Any, Any], seconds: float) -> Any:
    """The next answer of a stream; None at its good end. A stream that raises is over."""
    try:
        async with asyncio.timeout(seconds):
            answer = await call.read()
    except grpc.aio.AioRpcError as failure:
        raise error_of_call(failure) from None
    except TimeoutError:
        call.cancel()
        raise TimedOut.after(seconds) from None
    except asyncio.CancelledError:
        call.cancel()
        raise
    return None if answer is grpc.aio.EOF else answer


class Link:
    """The connection of one client. Made on the event loop that uses it."""

    def __init__(
        self,
        servers: Sequence[str],
        tls: Tls | None,
        token: Tokens | str,
        on_tokens: Callable[[Tokens], None] | None,
        reload_tokens: Callable[[], Tokens | None] | None,
        renewal_lock: Callable[[], AbstractAsyncContextManager[object]],
        state: State,
        outbox_limit: int,
        on_outcome: Callable[[Outcome], None] | None,
        on_status: Callable[[ClientStatus], None] | None,
        timeout_seconds: float,
        client_name: str,
        foreground: bool,
    ) -> None:
        self._transport = Transport(Servers(servers), tls)
        self._timeout_seconds = timeout_seconds
        self._client_name = client_name
        self._foreground = foreground
        self._on_status = on_status
        self._follower: Follower | None = None
        self._events: EventStream | None = None
        self._closed = False
        self._stream_server = servers[0]
        self.renewal = Renewal(
            token,
            self._refresh,
            on_tokens=on_tokens,
            reload_tokens=reload_tokens,
            renewal_lock=renewal_lock,
        )
        self._position = Position(state, lambda: self.renewal.user_id)
        self.outbox = Outbox(self._position, self._send_once, on_outcome, limit=outbox_limit)
        channel = cast("grpc.aio.Channel", self._transport)
        self.auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        self.users = user_service_pb2_grpc.UserServiceStub(channel)
        self.channels = channel_service_pb2_grpc.ChannelServiceStub(channel)
        self.chat = chat_service_pb2_grpc.ChatServiceStub(channel)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(channel)

    def seconds(self, timeout_seconds: float | None) -> float:
        """How long a call may take; None means as long as the client says."""
        return self._timeout_seconds if timeout_seconds is None else timeout_seconds

    async def start(self) -> None:
        """Have what the state store holds on its way. Raises StateError."""
        await self.outbox.loaded()

    async def call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request
    ) -> Response:
        """Make a unary call as the user, again if it fails for a passing reason. Raises ParleyError."""
        return await self.persist(lambda seconds: self.attempt(method, request, seconds))

    async def persist(self, attempt: Callable[[float], Awaitable[Item]]) -> Item:
        """Make `attempt(timeout_seconds)` as often as a call of this client is made. Raises ParleyError."""
        return await persist(Patience(self._timeout_seconds, attempts_limit=_ATTEMPTS_LIMIT), attempt)

    async def pages(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        items: Callable[[Response], Iterable[Item]],
    ) -> AsyncIterator[Item]:
        """All items of a list in pages. The next page is asked for when the one before is used up."""
        while True:
            response: Any = await self.call(method, request)
            for item in items(response):
                yield item
            if not response.next_page_token:
                return
            cast("Any", request).page_token = response.next_page_token

    async def stream(
        self, method: grpc.aio.UnaryStreamMultiCallable[Request, Response], request: Request
    ) -> AsyncGenerator[Response, None]:
        """The answers of a server stream as they come. It is begun again only before the first of them.

        Raises ParleyError, `TimedOut` when the next answer takes longer than a call may.
        """

        async def open_once(
            seconds: float, token: str
        ) -> tuple[grpc.aio.UnaryStreamCall[Any, Any], Response | None]:
            call = method(request, metadata=(("authorization", f"Bearer {token}"),))
            return call, await _next_answer(call, seconds)

        async def begin(seconds: float) -> tuple[grpc.aio.UnaryStreamCall[Any, Any], Response | None]:
            self._check_open()
            token = await self.renewal.access_token()
            try:
                return await open_once(seconds, token)
            except TokenExpired as error:
                await self.renewal.replace(token, error)
            return await open_once(seconds, await self.renewal.access_token())

        call, answer = await self.persist(begin)
        try:
            while answer is not None:
                yield answer
                answer = await _next_answer(call, self._timeout_seconds)
        finally:
            call.cancel()

    async def mark_read(
        self, request: message_requests_pb2.MarkReadRequest
    ) -> message_requests_pb2.MarkReadResponse:
        """Mark as read, over the stream when one is open."""
        attempts = 0

        async def attempt(seconds: float) -> message_requests_pb2.MarkReadResponse:
            nonlocal attempts
            attempts += 1
            stream = self._stream_for(attempts - 1)
            if stream is not None:
                with suppress(StreamCut):
                    return await stream.mark_read(request, seconds)
            return await self.attempt(self.chat.MarkRead, request, seconds)

        return await self.persist(attempt)

    async def _send_once(
        self, request: message_requests_pb2.SendMessageRequest, attempts: int
    ) -> message_requests_pb2.SendMessageResponse:
        self._check_open()
        stream = self._stream_for(attempts)
        if stream is not None:
            with suppress(StreamCut):
                return await stream.send_message(request, _ATTEMPT_SECONDS)
        return await self.attempt(self.chat.SendMessage, request, _ATTEMPT_SECONDS)

    def _stream_for(self, attempts: int) -> Stream | None:
        # Repetitions go by unary calls: they do not depend on whatever holds the stream up.
        stream = self._follower.stream if self._follower is not None else None
        return stream if stream is not None and stream.takes_requests and attempts == 0 else None

    def events(self) -> EventStream:
        """The open stream, or a new one when there is none."""
        self._check_open()
        if self._follower is None or self._events is None or self._follower.ended:
            self._follower = Follower(
                self._position,
                self._open_stream,
                self._fetch,
                self.renewal.newer_token,
                self._lost,
                self._moved,
                client_name=self._client_name,
                foreground=self._foreground,
                after=self._follower,
            )
            self._events = EventStream(self._follower)
        return self._events

    def status(self) -> ClientStatus:
        """What the client is doing now."""
        follower = self._follower
        retry_in_seconds = None
        if follower is not None and follower.phase is Phase.WAITING:
            retry_in_seconds = max(0.0, follower.retry_at_seconds - asyncio.get_running_loop().time())
        return ClientStatus(
            phase=Phase.ENDED if self._closed else follower.phase if follower else Phase.IDLE,
            server=self._transport.servers.current,
            channels_behind=follower.behind if follower else 0,
            waiting_events=follower.handout.waiting_events if follower else 0,
            waiting_messages=len(self.outbox),
            last_error=follower.last_error if follower else None,
            retry_in_seconds=retry_in_seconds,
        )

    async def aclose(self) -> None:
        """End the stream in good order, let a renewal end, close connections and store. Once is enough."""
        if self._closed:
            return
        self._closed = True
        try:
            await self.outbox.aclose()
            if self._follower is not None:
                await self._follower.aclose()
            await self.renewal.aclose()
        finally:
            await self._position.aclose()
            await self._transport.close()

    def _moved(self, phase: Phase) -> None:
        if phase in (Phase.CATCHING_UP, Phase.LIVE):
            self.outbox.kick()
        if self._on_status is not None:
            self._on_status(self.status())

    def _lost(self, error: ParleyError, session: Session) -> None:
        if session.go_away is not None and session.go_away.endpoints:
            self._transport.prefer(session.go_away.endpoints)
        elif session.welcomed:
            self._judge(self._stream_server, error)

    def _judge(self, address: str, error: ParleyError) -> None:
        if error.reason == "NO_ANSWER":
            self._transport.silent(address)
        elif speaks_of_the_server(error.code.name, error.reason):
            self._transport.failed(address)

    async def _fetch(
        self, request: chat_service_pb2.ListEventsRequest
    ) -> chat_service_pb2.ListEventsResponse:
        return await self.call(self.chat.ListEvents, request)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this client is closed: make a new one with parley.connect")

    async def attempt(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request, seconds: float
    ) -> Response:
        """Make a unary call as the user once; twice where the token had to be renewed. Raises ParleyError."""
        self._check_open()
        token = await self.renewal.access_token()
        address = self._transport.servers.current
        try:
            try:
                return await call_once(method, request, seconds, token)
            except TokenExpired as error:
                await self.renewal.replace(token, error)
            return await call_once(method, request, seconds, await self.renewal.access_token())
        except ParleyError as error:
            self._judge(address, error)
            raise

    async def _refresh(self, tokens: Tokens) -> Tokens:
        request = auth_service_pb2.RefreshRequest(refresh_token=tokens.refresh_token)
        patience = Patience(_REFRESH_SECONDS, attempts_limit=_ATTEMPTS_LIMIT)
        response = await persist(patience, lambda seconds: call_once(self.auth.Refresh, request, seconds))
        return tokens.renewed(response.tokens)

    async def _open_stream(self, hello: stream_pb2.ConnectRequest) -> Opened:
        token = await self.renewal.access_token()
        self._stream_server = address = self._transport.servers.current
        try:
            try:
                return await self._greet(hello, token, _ATTEMPT_SECONDS)
            except TokenExpired as error:
                await self.renewal.replace(token, error)
            return await self._greet(hello, await self.renewal.access_token(), _ATTEMPT_SECONDS)
        except TimedOut:
            self._transport.silent(address)
            raise
        except ParleyError as error:
            self._judge(address, error)
            raise

    async def _greet(self, hello: stream_pb2.ConnectRequest, token: str, seconds: float) -> Opened:
        """Open a stream, say hello, and wait for the first frame."""
        call = ConnectCall(self.chat.Connect(metadata=(("authorization", f"Bearer {token}"),)))
        try:
            async with asyncio.timeout(seconds):
                await call.write(hello)
                frame = await call.read()
        except TimeoutError:
            raise TimedOut.after(seconds) from None
        if frame is None:
            raise Disconnected(
                "The server ended the stream before it began.",
                code=StatusCode.UNAVAILABLE,
                reason="STREAM_ENDED",
            )
        return call, frame, token
