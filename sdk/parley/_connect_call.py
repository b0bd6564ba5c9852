"""One call of Connect, its failures as ParleyErrors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc

from parley._status import error_of_call, error_of_end

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from parley._errors import ParleyError
    from parley.chat.v1 import stream_pb2

    Call = grpc.aio.StreamStreamCall[stream_pb2.ConnectRequest, stream_pb2.ConnectResponse]

Value = TypeVar("Value")


class ConnectCall:
    """Frames up, frames down, and the status that the server ended the call with.

    grpc.aio forgets that status when a write fails after it came (https://github.com/grpc/grpc/issues/36066),
    so it is taken down at the moment when the call ends.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._end: ParleyError | None = None
        call.add_done_callback(self._ended)

    async def write(self, frame: stream_pb2.ConnectRequest) -> bool:
        """Send a frame. False when the call is over; reading says why."""
        try:
            await self._call.write(frame)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return False
        return True

    async def read(self) -> stream_pb2.ConnectResponse | None:
        """The next frame; None when the server ended the call with OK. Raises ParleyError for another end."""
        try:
            frame = await self._call.read()
        except grpc.aio.AioRpcError as failure:
            raise self._end or error_of_call(failure) from None
        return None if frame is grpc.aio.EOF else cast("stream_pb2.ConnectResponse", frame)

    def cancel(self) -> None:
        """End the call without waiting for the server."""
        self._call.cancel()

    def _ended(self, call: Any) -> None:
        code = _value_of(self._call.code())
        if code is not None and code is not grpc.StatusCode.OK:
            details, trailers = _value_of(self._call.details()), _value_of(self._call.trailing_metadata())
            self._end = error_of_end(code, details, trailers)


def _value_of(known: Coroutine[Any, Any, Value]) -> Value | None:
    """What a coroutine returns at once, as that for the status of an ended call does; None when it waits."""
    try:
        known.send(None)
    except StopIteration as returned:
        return cast("Value", returned.value)
    finally:
        known.close()
    return None
