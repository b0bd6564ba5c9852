"""The stream seam on grpc.aio: one reader and one writer task per stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from parley_runtime.refusal import Reason, Refusal
from parley_runtime.status import abort_arguments
from parley_server.ports.stream import StreamHandler

if TYPE_CHECKING:
    # Generic in its stubs only.
    _Context = grpc.aio.ServicerContext[bytes, bytes]

_NOT_TAKEN = Refusal(
    Reason.SLOW_READER, "The client did not take in time what was sent before the end. Connect again."
)

MakeHandler = Callable[[], StreamHandler]


class GrpcioStream:
    """`DeviceStream` over a grpc.aio call. One message is in flight at a time; `writable` follows each."""

    def __init__(self, context: _Context, close_seconds: float) -> None:
        """After `close` the client has `close_seconds` to take what was sent; then the call is given up."""
        self._context = context
        self._close_seconds = close_seconds
        self._limit: asyncio.Timeout | None = None
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._refusal: Refusal | None = None
        # Metadata values may be bytes only under "-bin" keys, which nobody here reads.
        self._metadata = {
            key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
        }

    @property
    def peer(self) -> str:
        return self._context.peer()

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._metadata

    def send_encoded(self, message: bytes) -> bool:
        if not self._closing:
            self._waiting.append(message)
            self._wake.set()
        return False

    def close(self, refusal: Refusal | None) -> None:
        if not self._closing:
            self._closing = True
            self._refusal = refusal
            self._wake.set()
            if self._limit is not None:
                # A client that reads no more would hold the call, and its place, for ever.
                self._limit.reschedule(asyncio.get_running_loop().time() + self._close_seconds)

    async def write_until_closed(self, handler: StreamHandler) -> None:
        """Write what is sent, until `close`; then end the call with its status."""
        try:
            async with asyncio.timeout(self._close_seconds if self._closing else None) as self._limit:
                await self._write(handler)
        except TimeoutError:
            # The status stands behind what the client did not take: hand it over, and wait for nothing.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await self._context.abort(*abort_arguments(self._refusal or _NOT_TAKEN))
        else:
            if self._refusal is not None:
                await self._context.abort(*abort_arguments(self._refusal))

    async def _write(self, handler: StreamHandler) -> None:
        while True:
            while self._waiting:
                await self._context.write(self._waiting.popleft())
                if not self._waiting and not self._closing:
                    handler.writable()
            if self._closing:
                return
            self._wake.clear()
            await self._wake.wait()


def stream_stream(make_handler: MakeHandler, *, close_seconds: float) -> grpc.RpcMethodHandler[Any, Any]:
    """A bidirectional method served by one handler per stream, bytes both ways."""

    async def behaviour(_requests: object, context: _Context) -> None:
        stream = GrpcioStream(context, close_seconds)
        handler = make_handler()

        async def read() -> None:
            while True:
                # The stubs leave out that `read` answers EOF at the half-close.
                message: Any = await context.read()
                if message is grpc.aio.EOF:
                    break
                handler.received(message)
            handler.half_closed()

        handler.opened(stream)
        reader = asyncio.create_task(read())
        try:
            await stream.write_until_closed(handler)
        finally:
            reader.cancel()
            handler.closed()
            await asyncio.wait([reader])

    return grpc.stream_stream_rpc_method_handler(behaviour, None, None)


def unary_stream(make_handler: MakeHandler, *, close_seconds: float) -> grpc.RpcMethodHandler[Any, Any]:
    """A server-streaming method served by one handler per stream, bytes both ways."""

    async def behaviour(request: bytes, context: _Context) -> None:
        stream = GrpcioStream(context, close_seconds)
        handler = make_handler()
        handler.opened(stream)
        handler.received(request)
        handler.half_closed()
        try:
            await stream.write_until_closed(handler)
        finally:
            handler.closed()

    return grpc.unary_stream_rpc_method_handler(behaviour, None, None)
