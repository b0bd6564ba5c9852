"""A thin client on the generated stubs, for tests that look at the node from outside.

It retries nothing and hides nothing: statuses come back whole, and streams take and give bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from parley.admin.v1 import admin_service_pb2_grpc
from parley.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from parley.channel.v1 import channel_service_pb2, channel_service_pb2_grpc
from parley.chat.v1 import chat_service_pb2_grpc, event_pb2, message_requests_pb2, stream_pb2
from parley.user.v1 import user_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from google.protobuf.message import Message

PASSWORD = "correct horse battery"
WAIT_SECONDS = 20.0
CONNECT = "/parley.chat.v1.ChatService/Connect"
SUBSCRIBE = "/parley.chat.v1.ChatService/Subscribe"

_M = TypeVar("_M", bound="Message")


def uuid7(at_ms: int | None = None) -> str:
    """A UUIDv7 in lower-case text, dated `at_ms` (milliseconds since 1970; None: now)."""
    at_ms = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    number = at_ms << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=number & ~(0x3 << 62) | 0x2 << 62))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call or a stream ended, all that travelled. `status` is None where no details came."""

    code: grpc.StatusCode
    message: str
    status: status_pb2.Status | None
    trailing: tuple[tuple[str, str | bytes], ...]

    @property
    def reason(self) -> str:
        """ErrorInfo.reason; empty without one."""
        return "" if self.status is None else reason_of(self.status)

    @property
    def brief(self) -> tuple[str, str]:
        """(code name, reason): what clients decide by."""
        return self.code.name, self.reason

    def detail(self, kind: type[_M]) -> _M | None:
        """The one detail of this kind, None without."""
        return None if self.status is None else detail_of(self.status, kind)

    @property
    def violated_fields(self) -> list[str]:
        """The fields that BadRequest names."""
        bad_request = self.detail(error_details_pb2.BadRequest)
        return [] if bad_request is None else [found.field for found in bad_request.field_violations]


def reason_of(status: status_pb2.Status) -> str:
    """ErrorInfo.reason of the status; empty without one."""
    info = detail_of(status, error_details_pb2.ErrorInfo)
    return "" if info is None else info.reason


def detail_of(status: status_pb2.Status, kind: type[_M]) -> _M | None:
    """The first detail of this kind in the status."""
    for packed in status.details:
        found = kind()
        if packed.Unpack(found):
            return found
    return None


def _outcome(code: grpc.StatusCode, message: str | None, trailing: Any) -> Outcome:
    pairs = tuple((key, value) for key, value in trailing or ())
    encoded = dict(pairs).get("grpc-status-details-bin")
    status = status_pb2.Status.FromString(encoded) if isinstance(encoded, bytes) else None
    return Outcome(code, message or "", status, pairs)


async def outcome_of(call: Awaitable[object]) -> Outcome:
    """How the unary call ended, OK included."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return _outcome(error.code(), error.details(), error.trailing_metadata())
    return Outcome(grpc.StatusCode.OK, "", None, ())


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = WAIT_SECONDS) -> None:
    """Ask until it holds, for what the node does in its own time and tells nobody. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - what is awaited is in another process
            await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Person:
    """A logged-in device of a user."""

    user_id: str
    username: str
    device_id: str
    access_token: str
    refresh_token: str = ""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What authenticates a call."""
        return bearer(self.access_token)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Call metadata with this access token."""
    return (("authorization", f"Bearer {token}"),)


class StreamEnded(Exception):
    """The stream ended before what was waited for came."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"stream ended: {outcome.brief} {outcome.message}")
        self.outcome = outcome


@dataclass(slots=True)
class RawStream:
    """One Connect or Subscribe stream. It reads only when asked to, so a test can be a slow reader."""

    call: Any
    frames: list[stream_pb2.ConnectResponse] = field(default_factory=list)
    events: list[event_pb2.Event] = field(default_factory=list)
    replies: dict[int, stream_pb2.Reply] = field(default_factory=dict)
    controls: list[stream_pb2.Control] = field(default_factory=list)
    cursor: str = ""
    # For a client that uses a request id twice; otherwise a second reply is a defect of the node.
    repeats_allowed: bool = False
    _next_request_id: int = 1 << 20
    # The layer below loses a frame that is written while another one is.
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send_bytes(self, encoded: bytes) -> None:
        """Write one frame as it is, after those that were given before. A stream that has ended takes nothing
        more; reading says why.
        """
        async with self._writing:
            if self.call.done():
                return
            # Its own write puts an error of its making in the place of the server's status
            # (https://github.com/grpc/grpc/issues/36066), so the layer below is used.
            await self.call._metadata_sent.wait()
            with contextlib.suppress(cygrpc.InternalError):
                await self.call._cython_call.send_serialized_message(encoded)

    async def send(self, **fields: Any) -> None:
        """Write one ConnectRequest with these fields."""
        await self.send_bytes(stream_pb2.ConnectRequest(**fields).SerializeToString())

    async def half_close(self) -> None:
        """Say that no more frames follow."""
        await self.call.done_writing()

    def cancel(self) -> None:
        """Go away without a word."""
        self.call.cancel()

    async def read(self) -> stream_pb2.ConnectResponse:
        """Read one frame and keep what is in it. Raises StreamEnded."""
        try:
            encoded = await self.call.read()
        except grpc.aio.AioRpcError:
            encoded = grpc.aio.EOF
        if encoded is grpc.aio.EOF:
            raise StreamEnded(await self._ended())
        frame = stream_pb2.ConnectResponse.FromString(encoded)
        self.frames.append(frame)
        self.cursor = frame.cursor or self.cursor
        self.events.extend(frame.events)
        self.controls.extend(frame.controls)
        for reply in frame.replies:
            repeated = reply.request_id in self.replies and not self.repeats_allowed
            assert not repeated, f"two replies to request {reply.request_id}"
            self.replies[reply.request_id] = reply
        return frame

    async def until(self, holds: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
        """Read until `holds()` is true. Raises StreamEnded, TimeoutError."""
        async with asyncio.timeout(seconds):
            while not holds():
                await self.read()

    async def at_least(self, count: int) -> None:
        """Read until so many events have come."""
        await self.until(lambda: len(self.events) >= count)

    async def caught_up(self) -> None:
        """Read until CaughtUp."""
        await self.until(lambda: any(control.HasField("caught_up") for control in self.controls))

    async def reply(self, request_id: int) -> stream_pb2.Reply:
        """Read until this request is answered."""
        await self.until(lambda: request_id in self.replies)
        return self.replies[request_id]

    async def ask(self, **fields: Any) -> stream_pb2.Reply:
        """Write one request under a fresh id and read until it is answered."""
        self._next_request_id += 1
        request_id = self._next_request_id
        await self.send(request_id=request_id, **fields)
        return await self.reply(request_id)

    async def barrier(self) -> None:
        """Read everything that the node put into this Connect stream before now. What the stream was just
        catching up with may come later: wait for that by `until`.

        Foreground stays true: the barrier's heartbeat must not change the lease.
        """
        await self.ask(heartbeat=stream_pb2.HeartbeatRequest(foreground=True))

    async def end(self, seconds: float = WAIT_SECONDS) -> Outcome:
        """Read until the stream ends, and say how. Raises TimeoutError if it does not."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await self.read()
                except StreamEnded as ended:
                    return ended.outcome

    def event_seqs(self, channel_id: str) -> list[int]:
        """The seqs of the channel's events, as they came."""
        return [event.seq for event in self.events if event.channel_id == channel_id]

    def control(self, kind: str) -> Any:
        """The first control of this kind. Raises LookupError."""
        for control in self.controls:
            if control.WhichOneof("control") == kind:
                return getattr(control, kind)
        raise LookupError(f"no {kind} among {len(self.controls)} controls")

    @property
    def welcome(self) -> stream_pb2.Welcome:
        """The stream's Welcome."""
        return cast("stream_pb2.Welcome", self.control("welcome"))

    async def _ended(self) -> Outcome:
        return _outcome(
            await self.call.code(), await self.call.details(), await self.call.trailing_metadata()
        )


class RawClient:
    """One connection to one node with a stub per service."""

    def __init__(
        self, address: str, credentials: grpc.ChannelCredentials | None = None, *, reads_ahead: bool = True
    ) -> None:
        """Without `reads_ahead` little more than 64 KiB is taken that nobody reads; else it may be 16 MiB."""
        self.address = address
        # A connection of its own each time: the process shares subchannels otherwise.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        if not reads_ahead:
            options += [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 64 * 1024)]
        self.channel: Any = (
            grpc.aio.insecure_channel(address, options=options)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, options=options)
        )
        self.auth: Any = auth_service_pb2_grpc.AuthServiceStub(self.channel)
        self.users: Any = user_service_pb2_grpc.UserServiceStub(self.channel)
        self.channels: Any = channel_service_pb2_grpc.ChannelServiceStub(self.channel)
        self.chat: Any = chat_service_pb2_grpc.ChatServiceStub(self.channel)
        self.admin: Any = admin_service_pb2_grpc.AdminServiceStub(self.channel)

    async def __aenter__(self) -> RawClient:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.channel.close()

    async def sign_up(self, username: str = "") -> Person:
        """A new user with the password PASSWORD; without a name, a fresh one."""
        request = auth_service_pb2.SignUpRequest(
            username=username or f"u{uuid.uuid4().hex[:16]}",
            password=PASSWORD,
            request_id=str(uuid.uuid4()),
        )
        answer = await self.auth.SignUp(request)
        return Person(
            answer.user.user_id,
            answer.user.username,
            answer.device_id,
            answer.tokens.access_token,
            answer.tokens.refresh_token,
        )

    async def log_in(self, username: str) -> Person:
        """Another device of the user."""
        request = auth_service_pb2.LogInRequest(
            username=username, password=PASSWORD, request_id=str(uuid.uuid4())
        )
        answer = await self.auth.LogIn(request)
        return Person(
            answer.user.user_id,
            username,
            answer.device_id,
            answer.tokens.access_token,
            answer.tokens.refresh_token,
        )

    async def direct(self, one: Person, other: Person) -> str:
        """The id of the pair's direct channel."""
        request = channel_service_pb2.CreateDirectChannelRequest(user_id=other.user_id)
        answer = await self.channels.CreateDirectChannel(request, metadata=one.metadata)
        return str(answer.channel.channel_id)

    async def group(self, owner: Person, members: Sequence[Person] = (), **fields: Any) -> str:
        """The id of a new group."""
        request = channel_service_pb2.CreateChannelRequest(
            title="group",
            member_ids=[member.user_id for member in members],
            client_channel_id=uuid7(),
            **fields,
        )
        answer = await self.channels.CreateChannel(request, metadata=owner.metadata)
        return str(answer.channel.channel_id)

    async def send(
        self, sender: Person, channel_id: str, text: str = "hello", client_message_id: str = ""
    ) -> message_requests_pb2.SendMessageResponse:
        """Send by unary call."""
        request = message(channel_id, text, client_message_id)
        return cast(
            "message_requests_pb2.SendMessageResponse",
            await self.chat.SendMessage(request, metadata=sender.metadata),
        )

    def raw(self, method: str, encoded: bytes, person: Person | None = None) -> Awaitable[bytes]:
        """A unary call with the request's bytes as they are; the answer's bytes."""
        call = self.channel.unary_unary(method, request_serializer=None, response_deserializer=None)
        return cast("Awaitable[bytes]", call(encoded, metadata=person.metadata if person else None))

    def open(self, metadata: Sequence[tuple[str, str]] | None) -> RawStream:
        """A Connect stream on which nothing was said yet."""
        method = self.channel.stream_stream(CONNECT, request_serializer=None, response_deserializer=None)
        return RawStream(method(metadata=tuple(metadata) if metadata else None))

    async def connect(self, person: Person, **hello: Any) -> RawStream:
        """A Connect stream that has caught up."""
        stream = self.open(person.metadata)
        await stream.send(hello=stream_pb2.Hello(foreground=True, **hello))
        await stream.caught_up()
        return stream

    def open_subscribe(self, person: Person, encoded: bytes | None = None) -> RawStream:
        """A Subscribe stream of which nothing was read yet. Its frames are those of Connect."""
        method = self.channel.unary_stream(SUBSCRIBE, request_serializer=None, response_deserializer=None)
        if encoded is None:
            request = stream_pb2.SubscribeRequest(hello=stream_pb2.Hello(foreground=True))
            encoded = request.SerializeToString()
        return RawStream(method(encoded, metadata=person.metadata))

    async def subscribe(self, person: Person) -> RawStream:
        """A Subscribe stream that has caught up."""
        stream = self.open_subscribe(person)
        await stream.caught_up()
        return stream


def message(
    channel_id: str, text: str = "hello", client_message_id: str = "", **attributes: str
) -> message_requests_pb2.SendMessageRequest:
    """A send, under a fresh id unless one is given."""
    return message_requests_pb2.SendMessageRequest(
        channel_id=channel_id,
        client_message_id=client_message_id or uuid7(),
        text=text,
        attributes=attributes,
    )
