"""What every call with one request passes through: parsing, identity, rate, errors, metrics.

Others are left alone: the two chat streams do the same for themselves, health and reflection need none of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from parley_runtime.disk_full import is_disk_full, note_disk_full
from parley_runtime.logs import get_logger
from parley_runtime.refusal import Reason, Refusal
from parley_runtime.status import abort_arguments
from parley_server.api.call_context import set_caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from parley_runtime.clock import Clock
    from parley_runtime.metrics import Metrics
    from parley_server.accounts.authenticator import Authenticator
    from parley_server.accounts.caller import Caller
    from parley_server.api.rates import RateCheck
from parley_server.ports.message_log import StoreUnavailable

_OPEN_METHODS = frozenset(
    f"/parley.auth.v1.AuthService/{name}" for name in ("SignUp", "LogIn", "Refresh", "GetJwks")
)
_OPERATOR_PREFIX = "/parley.admin.v1."
_OURS_PREFIX = "/parley."

if TYPE_CHECKING:
    # Generic in their stubs only.
    _Handler = grpc.RpcMethodHandler[Any, Any]
    _Context = grpc.aio.ServicerContext[Any, Any]

log = get_logger(__name__)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each method of ours with one request once. A Refusal of a servicer becomes the call's status."""

    def __init__(
        self,
        authenticator: Authenticator,
        rates: RateCheck,
        clock: Clock,
        metrics: Metrics,
        *,
        request_limit_bytes: int,
        new_error_id: Callable[[], str],
    ) -> None:
        self._authenticator = authenticator
        self._rates = rates
        self._clock = clock
        self._metrics = metrics
        self._request_limit_bytes = request_limit_bytes
        self._new_error_id = new_error_id
        self._wrapped: dict[str, _Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming or not method.startswith(_OURS_PREFIX):
            return handler
        if handler.request_deserializer is None:
            # The two chat streams take bytes and do all this for themselves.
            return handler
        wrap = self._wrap_stream if handler.response_streaming else self._wrap
        self._wrapped[method] = wrapped = wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: _Handler) -> _Handler:
        call: Any = handler.unary_unary
        parse = handler.request_deserializer
        assert call is not None and parse is not None

        async def serve(encoded: bytes, context: _Context) -> Message:
            async with self._served(method, context):
                await self._admit(method, encoded, context)
                return await call(_parsed(parse, encoded), context)  # type: ignore[no-any-return]
            raise AssertionError("abort returned")

        # Bytes in: what cannot be parsed, and what is too large, gets our status and not the transport's.
        return grpc.unary_unary_rpc_method_handler(serve, None, handler.response_serializer)

    def _wrap_stream(self, method: str, handler: _Handler) -> _Handler:
        call: Any = handler.unary_stream
        parse = handler.request_deserializer
        assert call is not None and parse is not None

        async def serve(encoded: bytes, context: _Context) -> AsyncIterator[Message]:
            async with self._served(method, context):
                caller = await self._admit(method, encoded, context)
                async with contextlib.aclosing(call(_parsed(parse, encoded), context)) as messages:
                    async for message in messages:
                        if caller is not None:
                            # The answer may take long, and the reader may take longer.
                            self._authenticator.check_served(caller)
                        yield message

        return grpc.unary_stream_rpc_method_handler(serve, None, handler.response_serializer)

    @contextlib.asynccontextmanager
    async def _served(self, method: str, context: _Context) -> AsyncIterator[None]:
        """Turns what the body raises into the call's status, and counts the call."""
        started = self._clock.monotonic()
        code = "OK"
        try:
            yield
        except Refusal as refusal:
            code = refusal.reason.code.name
            await context.abort(*abort_arguments(refusal))
        except StoreUnavailable as error:
            code = "UNAVAILABLE"
            await context.abort(*abort_arguments(store_unavailable(method, error)))
        except (grpc.aio.AbortError, asyncio.CancelledError, GeneratorExit):
            code = "CANCELLED"
            raise
        except Exception as error:
            code = "INTERNAL"
            await context.abort(*abort_arguments(self._defect(method, error)))
        finally:
            self._metrics.calls.labels(method, code).inc()
            self._metrics.call_seconds.labels(method).observe(self._clock.monotonic() - started)

    async def _admit(self, method: str, encoded: bytes, context: _Context) -> Caller | None:
        """The caller, None where the method is open to everybody. Raises Refusal."""
        if len(encoded) > self._request_limit_bytes:
            raise too_large(len(encoded), self._request_limit_bytes)
        if method in _OPEN_METHODS:
            await self._rates.take_method(method, address_of(context.peer()))
            return None
        metadata = {
            key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
        }
        caller = self._authenticator.authenticate(metadata)
        await self._rates.take_method(method, caller.user_id)
        if method.startswith(_OPERATOR_PREFIX) and not caller.operator:
            raise Refusal(Reason.OPERATOR_REQUIRED, "Only operators may call this. Use an operator's token.")
        set_caller(caller)
        return caller

    def _defect(self, method: str, error: Exception) -> Refusal:
        error_id = self._new_error_id()
        log.error("call failed", method=method, error_id=error_id, exc_info=error)
        return Refusal(Reason.INTERNAL, f"The server failed. Report this id to its operators: {error_id}")


def _parsed(parse: Callable[[bytes], Message], encoded: bytes) -> Message:
    try:
        return parse(encoded)
    except DecodeError as error:
        raise malformed(error) from None


def malformed(error: Exception) -> Refusal:
    """The refusal for bytes that are not the message they should be: broken framing, or text that is not
    UTF-8.
    """
    return Refusal(
        Reason.MALFORMED_FRAME,
        f"The request cannot be parsed ({error}). Text must be valid UTF-8; check the client's stubs.",
    )


def store_unavailable(what: str, error: StoreUnavailable) -> Refusal:
    """The refusal when a store does not answer; the cause goes to the log, not to the caller. Only that the
    disk is full is for both.
    """
    if is_disk_full(str(error)):
        note_disk_full()
        said = (
            "The server cannot store anything: the disk is full. Retry later, with the same client-made ids."
        )
    else:
        log.error("store unavailable", call=what, error=str(error))
        said = "The server cannot reach its store. Retry, with the same client-made ids."
    return Refusal(
        Reason.STORE_UNAVAILABLE,
        said,
        retry_after_seconds=1.0,
    )


def too_large(size_bytes: int, limit_bytes: int) -> Refusal:
    """The refusal for a request beyond the limit."""
    return Refusal(
        Reason.REQUEST_TOO_LARGE,
        f"The request has {size_bytes} bytes; at most {limit_bytes} are taken. Send less at a time.",
        metadata={"limit_bytes": str(limit_bytes)},
    )


def address_of(peer: str) -> str:
    """The address in a transport's peer text, without the port: `ipv4:127.0.0.1:4000` → `ipv4:127.0.0.1`."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer
