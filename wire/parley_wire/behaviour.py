"""Runs a servicer's handler to its end, whatever that is."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from parley_wire.log import log
from parley_wire.status import CallFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_wire.handlers import Handler, Handlers
    from parley_wire.messages import PackedMessage
    from parley_wire.servicer_call import ServicerCall

_SYNCHRONOUS = (
    "is not asynchronous: this server runs coroutines and async generators; "
    "plain functions, other than the generated defaults, it refuses"
)


async def serve(
    call: ServicerCall, handler: Handler, first: bytes | PackedMessage | None, handlers: Handlers
) -> None:
    """Run the handler and send how it ended. `first` is the request of a method with one request."""
    try:
        request = None if first is None else call.unpacked(first)
    except CallFault as fault:
        call.cancel(fault)
        return
    del first
    try:
        if handlers.intercepted:
            replaced = await handlers.intercept(call.path, call.invocation_metadata(), handler)
            if replaced is None:
                await call.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
            _check_kind(replaced, handler)
            handler = replaced
            call.replace_handler(handler)
        await _run(call, handler, request)
    except Exception as error:
        # AbortError comes from `context.abort`, which set a code. One that did not is a defect like others.
        if call.code() is grpc.StatusCode.OK:
            log.error("%s failed", call.path, exc_info=error)
            call.set_code(grpc.StatusCode.UNKNOWN)
            call.set_details(f"Unexpected {type(error)}: {error}")
    call.finish()


class Requests:
    """The requests of a streaming call, to iterate over."""

    def __init__(self, call: ServicerCall) -> None:
        self._call = call

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        request = await self._call.read()
        if request is grpc.aio.EOF:
            raise StopAsyncIteration
        return request


async def _run(call: ServicerCall, handler: Handler, first: bytes | None) -> None:
    function: Any = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    if first is None:
        request: Any = Requests(call)
    else:
        request = first if handler.request_deserializer is None else handler.request_deserializer(first)
    outcome = function(request, call)
    if inspect.isawaitable(outcome):
        response = await outcome
        if handler.response_streaming:
            # It wrote what it had to say by itself.
            return
        if call.code() is grpc.StatusCode.OK:
            call.send_message(response)
    elif handler.response_streaming and hasattr(outcome, "__aiter__"):
        try:
            async for response in outcome:
                await call.write(response)
        finally:
            # One that waits in its `yield` hears of the end here, not when the garbage collector comes by.
            if isinstance(outcome, AsyncGenerator):
                await outcome.aclose()
    else:
        log.error("the handler of %s %s", call.path, _SYNCHRONOUS)
        call.set_code(grpc.StatusCode.INTERNAL)
        call.set_details(f"the handler {_SYNCHRONOUS}")


def _check_kind(replaced: Handler, found: Handler) -> None:
    if (replaced.request_streaming, replaced.response_streaming) != (
        found.request_streaming,
        found.response_streaming,
    ):
        raise TypeError("an interceptor changed a method's kind")
