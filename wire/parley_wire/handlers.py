"""Which handler serves which method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from parley_wire.metadata import Metadata
    from parley_wire.raw_call import RawCall, RawHandler

    # Generic in their stubs only.
    Handler = grpc.RpcMethodHandler[Any, Any]


class RawMethod(grpc.RpcMethodHandler):  # type: ignore[type-arg]
    """A method whose streams are served by plain callbacks and bytes, without a task or a queue.

    `open_handler` is called for each call and returns what serves it. Interceptors do not see such calls.
    """

    def __init__(self, open_handler: Callable[[RawCall], RawHandler], *, request_streaming: bool) -> None:
        self.open_handler = open_handler
        self.request_streaming = request_streaming
        self.response_streaming = True
        self.request_deserializer = None
        self.response_serializer = None
        self.unary_unary = None
        self.unary_stream = None
        self.stream_unary = None
        self.stream_stream = None


class CallDetails(grpc.HandlerCallDetails):
    """What interceptors and generic handlers get to know of a call."""

    def __init__(self, method: str, invocation_metadata: Metadata) -> None:
        self.method = method
        self.invocation_metadata = invocation_metadata


class Handlers:
    """Registered methods win; generic handlers are asked in order for the rest."""

    def __init__(self, interceptors: Sequence[grpc.aio.ServerInterceptor]) -> None:
        for interceptor in interceptors:
            if not isinstance(interceptor, grpc.aio.ServerInterceptor):
                raise TypeError(f"{interceptor!r} is not a grpc.aio.ServerInterceptor")
        self._interceptors = tuple(interceptors)
        self._registered: dict[str, Handler] = {}
        self._generic: list[grpc.GenericRpcHandler] = []

    def add_registered(self, service: str, methods: Mapping[str, Handler]) -> None:
        """Serve the methods of a service. A second registration of a method replaces the first."""
        for name, handler in methods.items():
            self._registered[f"/{service}/{name}"] = handler

    def add_generic(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Ask these for methods that are not registered."""
        self._generic.extend(handlers)

    def find(self, path: str, metadata: Metadata) -> Handler | None:
        """The handler for a path; None for a method that nobody serves."""
        handler = self._registered.get(path)
        if handler is None and self._generic:
            details = CallDetails(path, metadata)
            for generic in self._generic:
                handler = generic.service(details)
                if handler is not None:
                    return handler
        return handler

    @property
    def intercepted(self) -> bool:
        """Whether there are interceptors."""
        return bool(self._interceptors)

    async def intercept(self, path: str, metadata: Metadata, found: Handler) -> Handler | None:
        """The handler that the interceptors make of the one that was found."""

        async def nobody_left(_details: grpc.HandlerCallDetails) -> Handler | None:
            return found

        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]] = nobody_left
        for interceptor in reversed(self._interceptors):
            continuation = _wrapped(interceptor, continuation)
        return await continuation(CallDetails(path, metadata))


def _wrapped(
    interceptor: grpc.aio.ServerInterceptor,
    continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
) -> Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]:
    async def ask(details: grpc.HandlerCallDetails) -> Handler | None:
        return await interceptor.intercept_service(continuation, details)

    return ask
