"""A stand-in for a node: real gRPC on loopback, its handlers replaced where a test makes things go wrong."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2

import parley
from parley.auth.v1 import auth_service_pb2, token_pair_pb2
from parley.channel.v1 import channel_pb2, channel_service_pb2
from parley.chat.v1 import chat_service_pb2, event_pb2, message_requests_pb2, stream_pb2
from parley.user.v1 import user_pb2, user_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = Callable[[Any, Context], Awaitable[Any]]
    StreamHandler = Callable[[AsyncIterator[stream_pb2.ConnectRequest], Context], AsyncIterator[Any]]

_UNARY: dict[str, dict[str, Any]] = {
    "parley.auth.v1.AuthService": {
        "SignUp": auth_service_pb2.SignUpRequest,
        "LogIn": auth_service_pb2.LogInRequest,
        "Refresh": auth_service_pb2.RefreshRequest,
    },
    "parley.channel.v1.ChannelService": {
        "GetChannel": channel_service_pb2.GetChannelRequest,
        "UpdateChannel": channel_service_pb2.UpdateChannelRequest,
        "CreateInvite": channel_service_pb2.CreateInviteRequest,
    },
    "parley.chat.v1.ChatService": {
        "SendMessage": message_requests_pb2.SendMessageRequest,
        "MarkRead": message_requests_pb2.MarkReadRequest,
        "ListEvents": chat_service_pb2.ListEventsRequest,
        "EditMessage": message_requests_pb2.EditMessageRequest,
        "DeleteMessage": message_requests_pb2.DeleteMessageRequest,
        "AddReaction": message_requests_pb2.AddReactionRequest,
        "RemoveReaction": message_requests_pb2.RemoveReactionRequest,
        "PinMessage": message_requests_pb2.PinMessageRequest,
        "UnpinMessage": message_requests_pb2.UnpinMessageRequest,
    },
    "parley.user.v1.UserService": {
        "GetUser": user_service_pb2.GetUserRequest,
        "DeleteAccount": user_service_pb2.DeleteAccountRequest,
    },
}


def make_status(
    code: grpc.StatusCode,
    reason: str,
    message: str = "because",
    *,
    retry_after_seconds: float | None = None,
    violations: tuple[tuple[str, str], ...] = (),
) -> status_pb2.Status:
    """A status as Parley's servers send it."""
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=reason, domain="parley", metadata={"k": "v"})]
    if retry_after_seconds is not None:
        whole = int(retry_after_seconds)
        delay = duration_pb2.Duration(seconds=whole, nanos=round((retry_after_seconds - whole) * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if violations:
        fields = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
            for field, description in violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=fields))
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


class FakeNode:
    """The node: what it wrote, which calls came, and its handlers by method name."""

    def __init__(self) -> None:
        self.target = ""
        self.calls: list[tuple[str, Any]] = []
        self.written: dict[str, int] = {}
        self.access_tokens: set[str] | None = None
        self.hellos: list[stream_pb2.Hello] = []
        self.goodbyes = 0
        self.acknowledged: list[str] = []
        self.head_seq = 0
        self.token_number = 0
        self.token_life_seconds = 900
        self.now_seconds = 1_000_000
        self.unary: dict[str, Handler] = {
            "SignUp": self.sign_up,
            "LogIn": self.log_in,
            "Refresh": self.refresh,
            "GetChannel": self.get_channel,
            "SendMessage": self.send_message,
            "MarkRead": self.mark_read,
            "ListEvents": self.list_events,
            "GetUser": self.get_user,
        }
        self.connect: StreamHandler = self.serve_stream
        self.export: Callable[[Context], AsyncIterator[bytes]] = self.chunks

    status = staticmethod(make_status)

    async def refuse(
        self,
        context: Context,
        code: grpc.StatusCode,
        reason: str,
        *,
        retry_after_seconds: float | None = None,
    ) -> NoReturn:
        """End a call with a status that carries details."""
        status = make_status(code, reason, retry_after_seconds=retry_after_seconds)
        trailers = (("grpc-status-details-bin", status.SerializeToString()),)
        await context.abort(code, status.message, trailing_metadata=trailers)
        raise AssertionError("abort raises")

    def called(self, method: str) -> list[Any]:
        """The requests that came for one method, in order."""
        return [request for name, request in self.calls if name == method]

    def pair(self) -> token_pair_pb2.TokenPair:
        """A new pair; its access token is a JWT in shape."""
        self.token_number += 1
        end = self.now_seconds + self.token_life_seconds
        claims = {"sub": "user-1", "iat": self.now_seconds, "exp": end, "n": self.token_number}
        body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        return token_pair_pb2.TokenPair(
            access_token=f"e30.{body}.sig",
            access_expire_time=timestamp_pb2.Timestamp(seconds=end),
            refresh_token=f"refresh-{self.token_number}",
            refresh_expire_time=timestamp_pb2.Timestamp(seconds=end + 1_000_000),
        )

    def tokens(self) -> parley.Tokens:
        """The tokens of a device that has just logged in."""
        pair = self.pair()
        return parley.Tokens(
            user_id="user-1",
            device_id="device-1",
            username="alice",
            access_token=pair.access_token,
            access_expire_ms=pair.access_expire_time.ToMilliseconds(),
            refresh_token=pair.refresh_token,
            refresh_expire_ms=pair.refresh_expire_time.ToMilliseconds(),
        )

    async def sign_up(self, request: Any, context: Context) -> auth_service_pb2.SignUpResponse:
        user = user_pb2.User(user_id="user-1", username=request.username)
        return auth_service_pb2.SignUpResponse(user=user, device_id="device-1", tokens=self.pair())

    async def log_in(self, request: Any, context: Context) -> auth_service_pb2.LogInResponse:
        user = user_pb2.User(user_id="user-1", username=request.username)
        return auth_service_pb2.LogInResponse(user=user, device_id="device-1", tokens=self.pair())

    async def refresh(self, request: Any, context: Context) -> auth_service_pb2.RefreshResponse:
        pair = self.pair()
        if self.access_tokens is not None:
            self.access_tokens = {pair.access_token}
        return auth_service_pb2.RefreshResponse(tokens=pair)

    async def get_channel(self, request: Any, context: Context) -> channel_service_pb2.GetChannelResponse:
        channel = channel_pb2.Channel(channel_id=request.channel_id, title="a title")
        return channel_service_pb2.GetChannelResponse(channel=channel)

    async def get_user(self, request: Any, context: Context) -> user_service_pb2.GetUserResponse:
        user = user_pb2.User(user_id=request.user_id or "user-2", username=request.username or "bob")
        return user_service_pb2.GetUserResponse(user=user)

    def write(
        self, request: message_requests_pb2.SendMessageRequest
    ) -> message_requests_pb2.SendMessageResponse:
        """Write once per client_message_id."""
        known = self.written.get(request.client_message_id)
        seq = known or len(self.written) + 1
        self.written[request.client_message_id] = seq
        return message_requests_pb2.SendMessageResponse(
            seq=seq, message_no=seq, create_time_ms=1000 + seq, duplicate=known is not None
        )

    async def send_message(self, request: Any, context: Context) -> message_requests_pb2.SendMessageResponse:
        return self.write(request)

    async def mark_read(self, request: Any, context: Context) -> message_requests_pb2.MarkReadResponse:
        return message_requests_pb2.MarkReadResponse(read_seq=request.seq, read_message_no=request.seq)

    async def list_events(self, request: Any, context: Context) -> chat_service_pb2.ListEventsResponse:
        """A log that holds every seq up to `head_seq`, in pages of 50."""
        last = min(request.to_seq or self.head_seq, self.head_seq)
        seqs = range(request.from_seq, min(last, request.from_seq + 49) + 1)
        return chat_service_pb2.ListEventsResponse(
            events=[self.event(request.channel_id, seq) for seq in seqs],
            next_page_token="more" if seqs and seqs[-1] < last else "",
            head_seq=self.head_seq,
        )

    @staticmethod
    def event(channel_id: str, seq: int) -> event_pb2.Event:
        """The message at `seq`."""
        return event_pb2.Event(
            channel_id=channel_id, seq=seq, message_no=seq, message=event_pb2.Message(text=str(seq))
        )

    def events(self, first_seq: int, count: int) -> stream_pb2.ConnectResponse:
        """A frame with the messages of channel "c" from `first_seq` on."""
        seqs = range(first_seq, first_seq + count)
        return stream_pb2.ConnectResponse(events=[self.event("c", seq) for seq in seqs])

    def welcome(self, *, heartbeat_seconds: float = 30.0, in_flight: int = 32) -> stream_pb2.ConnectResponse:
        """The frame that accepts a stream with nothing in its past."""
        interval = duration_pb2.Duration(nanos=round(heartbeat_seconds % 1 * 1e9))
        interval.seconds = int(heartbeat_seconds)
        welcome = stream_pb2.Welcome(
            session_id="session-1",
            node_id="node-1",
            heartbeat_interval=interval,
            limits=stream_pb2.Limits(requests_in_flight=in_flight),
        )
        return stream_pb2.ConnectResponse(
            controls=[
                stream_pb2.Control(welcome=welcome),
                stream_pb2.Control(caught_up=stream_pb2.CaughtUp()),
            ]
        )

    def answer(self, frame: stream_pb2.ConnectRequest) -> stream_pb2.ConnectResponse:
        """The reply to a request on a stream."""
        reply = stream_pb2.Reply(request_id=frame.request_id)
        match frame.WhichOneof("request"):
            case "send_message":
                self.calls.append(("stream SendMessage", frame.send_message))
                reply.send_message.CopyFrom(self.write(frame.send_message))
            case "mark_read":
                self.calls.append(("stream MarkRead", frame.mark_read))
                reply.mark_read.read_seq = frame.mark_read.seq
            case "ack_events":
                self.acknowledged.append(frame.ack_events.cursor)
                reply.ack_events.SetInParent()
            case "heartbeat":
                self.calls.append(("stream Heartbeat", frame.heartbeat))
                reply.heartbeat.SetInParent()
        return stream_pb2.ConnectResponse(replies=[reply])

    async def serve_stream(
        self, frames: AsyncIterator[stream_pb2.ConnectRequest], context: Context
    ) -> AsyncIterator[stream_pb2.ConnectResponse]:
        """Welcome the client, answer its requests, leave when it says goodbye."""
        yield self.welcome()
        async for frame in frames:
            if frame.WhichOneof("request") == "goodbye":
                self.goodbyes += 1
                return
            answer = self.answer(frame)
            if frame.request_id:
                yield answer

    async def chunks(self, context: Context) -> AsyncIterator[bytes]:
        """A small document."""
        yield b'{"a": '
        yield b"1}"

    async def _check_token(self, context: Context) -> None:
        if self.access_tokens is not None:
            metadata = dict(context.invocation_metadata() or ())
            token = str(metadata.get("authorization", "")).removeprefix("Bearer ")
            if token not in self.access_tokens:
                await self.refuse(context, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")

    def handler(self, service: str, method: str, request_type: Any) -> grpc.RpcMethodHandler[Any, Any]:
        async def serve(request: Any, context: Context) -> Any:
            self.calls.append((method, request))
            if not service.endswith("AuthService"):
                await self._check_token(context)
            return await self.unary[method](request, context)

        return grpc.unary_unary_rpc_method_handler(
            serve,
            request_deserializer=request_type.FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )

    async def serve_export(
        self, request: Any, context: Context
    ) -> AsyncIterator[user_service_pb2.ExportDataResponse]:
        self.calls.append(("ExportData", request))
        await self._check_token(context)
        async for chunk in self.export(context):
            yield user_service_pb2.ExportDataResponse(chunk=chunk)

    async def serve_connect(self, frames: Any, context: Context) -> AsyncIterator[stream_pb2.ConnectResponse]:
        await self._check_token(context)
        stream = aiter(frames)
        first = await anext(stream)
        self.hellos.append(first.hello)
        async for frame in self.connect(stream, context):
            yield frame


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    """A running stand-in node; `node.target` is its address."""
    fake = FakeNode()
    server = grpc.aio.server()
    for service, methods in _UNARY.items():
        handlers = {method: fake.handler(service, method, kind) for method, kind in methods.items()}
        if service == "parley.user.v1.UserService":
            handlers["ExportData"] = grpc.unary_stream_rpc_method_handler(
                fake.serve_export,
                request_deserializer=user_service_pb2.ExportDataRequest.FromString,
                response_serializer=lambda response: response.SerializeToString(),
            )
        if service == "parley.chat.v1.ChatService":
            handlers["Connect"] = grpc.stream_stream_rpc_method_handler(
                fake.serve_connect,
                request_deserializer=stream_pb2.ConnectRequest.FromString,
                response_serializer=lambda response: response.SerializeToString(),
            )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    fake.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield fake
    await server.stop(grace=0)
