"""What all parts of a client share: the gRPC channel, the token, calls that are repeated, the stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
from grpc import StatusCode

from parley._connect_call import ConnectCall
from parley._errors import Disconnected, TimedOut
from parley._event_stream import EventStream
from parley._patience import Patience, persist
from parley._reasons import TokenExpired
from parley._renewal import Renewal
from parley._status import error_of_call
from parley._stream import Stream, StreamCut
from parley._transport import Tls, open_grpc_channel
from parley.admin.v1 import admin_service_pb2_grpc
from parley.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from parley.channel.v1 import channel_service_pb2_grpc
from parley.chat.v1 import chat_service_pb2_grpc
from parley.user.v1 import user_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from google.protobuf.message import Message

    from parley._stream import Opened
    from parley._tokens import Tokens
    from parley.chat.v1 import message_requests_pb2, stream_pb2

Request = TypeVar("Request", bound="Message")
Response = TypeVar("Response", bound="Message")
Item = TypeVar("Item")

_ATTEMPTS_LIMIT = 5
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


class Link:
    """The connection of one client. Made on the event loop that uses it."""

    def __init__(
        self,
        target: str,
        tls: Tls | None,
        token: Tokens | str,
        on_tokens: Callable[[Tokens], None] | None,
        reload_tokens: Callable[[], Tokens | None] | None,
        renewal_lock: Callable[[], AbstractAsyncContextManager[object]],
        timeout_seconds: float,
        client_name: str,
        foreground: bool,
    ) -> None:
        self._grpc_channel = open_grpc_channel(target, tls)
        self._timeout_seconds = timeout_seconds
        self._client_name = client_name
        self._foreground = foreground
        self._stream: Stream | None = None
        self._events: EventStream | None = None
        self._closed = False
        self.renewal = Renewal(
            token,
            self._refresh,
            on_tokens=on_tokens,
            reload_tokens=reload_tokens,
            renewal_lock=renewal_lock,
        )
        self.auth = auth_service_pb2_grpc.AuthServiceStub(self._grpc_channel)
        self.users = user_service_pb2_grpc.UserServiceStub(self._grpc_channel)
        self.channels = channel_service_pb2_grpc.ChannelServiceStub(self._grpc_channel)
        self.chat = chat_service_pb2_grpc.ChatServiceStub(self._grpc_channel)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(self._grpc_channel)

    async def call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request
    ) -> Response:
        """Make a unary call as the user, again if it fails for a passing reason. Raises ParleyError."""
        patience = Patience(self._timeout_seconds, attempts_limit=_ATTEMPTS_LIMIT)
        return await persist(patience, lambda seconds: self._attempt(method, request, seconds))

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

    async def send_message(
        self, request: message_requests_pb2.SendMessageRequest, timeout_seconds: float | None
    ) -> message_requests_pb2.SendMessageResponse:
        """Send until there is an answer or the time is up, over the stream when one is open."""
        total_seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        return await self._either_way(
            lambda stream, seconds: stream.send_message(request, seconds),
            lambda seconds: self._attempt(self.chat.SendMessage, request, seconds),
            Patience(total_seconds, waits_for_limits=True),
        )

    async def mark_read(
        self, request: message_requests_pb2.MarkReadRequest
    ) -> message_requests_pb2.MarkReadResponse:
        """Mark as read, over the stream when one is open."""
        return await self._either_way(
            lambda stream, seconds: stream.mark_read(request, seconds),
            lambda seconds: self._attempt(self.chat.MarkRead, request, seconds),
            Patience(self._timeout_seconds, attempts_limit=_ATTEMPTS_LIMIT),
        )

    async def _either_way(
        self,
        ask_stream: Callable[[Stream, float], Awaitable[Item]],
        call: Callable[[float], Awaitable[Item]],
        patience: Patience,
    ) -> Item:
        first = True

        async def attempt(seconds: float) -> Item:
            nonlocal first
            stream = self._stream
            if stream is not None and stream.takes_requests and first:
                # Repetitions go by unary calls: they do not depend on whatever holds the stream up.
                first = False
                try:
                    return await ask_stream(stream, seconds)
                except StreamCut:
                    pass
            return await call(seconds)

        return await persist(patience, attempt)

    def events(self) -> EventStream:
        """The open stream, or a new one when there is none."""
        self._check_open()
        if self._stream is None or self._events is None or self._stream.ended:
            self._stream = Stream(
                self._open_stream, client_name=self._client_name, foreground=self._foreground
            )
            self._events = EventStream(self._stream)
        return self._events

    async def aclose(self) -> None:
        """End the stream in good order, let a renewal end, close the connection. Once is enough."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._stream is not None:
                await self._stream.aclose()
            await self.renewal.aclose()
        finally:
            await self._grpc_channel.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this client is closed: make a new one with parley.connect")

    async def _attempt(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request, seconds: float
    ) -> Response:
        self._check_open()
        token = await self.renewal.access_token()
        try:
            return await call_once(method, request, seconds, token)
        except TokenExpired as error:
            await self.renewal.replace(token, error)
        return await call_once(method, request, seconds, await self.renewal.access_token())

    async def _refresh(self, tokens: Tokens) -> Tokens:
        request = auth_service_pb2.RefreshRequest(refresh_token=tokens.refresh_token)
        patience = Patience(_REFRESH_SECONDS, attempts_limit=_ATTEMPTS_LIMIT)
        response = await persist(patience, lambda seconds: call_once(self.auth.Refresh, request, seconds))
        return tokens.renewed(response.tokens)

    async def _open_stream(self, hello: stream_pb2.ConnectRequest) -> Opened:
        async def attempt(seconds: float) -> Opened:
            self._check_open()
            token = await self.renewal.access_token()
            try:
                return await self._greet(hello, token, seconds)
            except TokenExpired as error:
                await self.renewal.replace(token, error)
            return await self._greet(hello, await self.renewal.access_token(), seconds)

        return await persist(Patience(self._timeout_seconds, attempts_limit=_ATTEMPTS_LIMIT), attempt)

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
        return call, frame
