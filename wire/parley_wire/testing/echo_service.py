"""A service of bytes that does what its requests say, for any grpc.aio server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    # Generic in its stubs only.
    _Context = grpc.aio.ServicerContext[Any, Any]

SERVICE = "parley.wire.test.Echo"


class EchoService:
    """`log` tells what became of handlers; `changed` is set with every entry."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.changed = asyncio.Event()

    def note(self, entry: str) -> None:
        """Add to the log."""
        self.log.append(entry)
        self.changed.set()

    async def until(self, entry: str) -> None:
        """Wait for an entry."""
        async with asyncio.timeout(10):
            while entry not in self.log:
                self.changed.clear()
                await self.changed.wait()

    async def unary(self, request: bytes, context: _Context) -> bytes:
        """Echo, or what the request says."""
        what, _, rest = request.partition(b":")
        if what == b"abort":
            trailing = (("why", "asked"), ("why-bin", b"\0\xff"))
            await context.abort(grpc.StatusCode.NOT_FOUND, "näh, 100%\n", trailing)
        elif what == b"details":
            details = (("grpc-status-details-bin", rest),)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not yet", details)
        elif what == b"raise":
            raise LookupError("a defect")
        elif what == b"code":
            context.set_code(grpc.StatusCode.DATA_LOSS)
            context.set_details("set")
        elif what == b"meta":
            await context.send_initial_metadata((("first", "1"), ("first-bin", b"\1")))
            context.set_trailing_metadata((("last", "2"),))
            # typeshed knows the metadata as a mapping; it comes as pairs.
            pairs: Any = context.invocation_metadata()
            return repr(sorted(tuple(pair) for pair in pairs if pair[0].startswith("x-"))).encode()
        elif what == b"sleep":
            await self._sleep(context)
        elif what == b"large":
            return b"x" * int(rest)
        elif what == b"left":
            return str(context.time_remaining()).encode()
        elif what == b"peer":
            return context.peer().encode()
        elif what == b"gzip":
            context.set_compression(grpc.Compression.Gzip)
            return rest * 1000
        return request

    async def unary_stream(self, request: bytes, context: _Context) -> AsyncIterator[bytes]:
        """As many messages as the request says, then an abort if it says so."""
        count, _, rest = request.partition(b":")
        for at in range(int(count)):
            yield str(at).encode()
        if rest == b"abort":
            await context.abort(grpc.StatusCode.ABORTED, "enough")
        elif rest == b"sleep":
            await self._sleep(context)

    async def unary_write(self, request: bytes, context: _Context) -> None:
        """The same by `write`."""
        for at in range(int(request)):
            await context.write(str(at).encode())

    async def stream_unary(self, requests: AsyncIterator[bytes], context: _Context) -> bytes:
        """The number of bytes that came."""
        total = 0
        async for request in requests:
            if request == b"stop":
                break
            total += len(request)
        return str(total).encode()

    async def stream_stream(self, requests: AsyncIterator[bytes], context: _Context) -> AsyncIterator[bytes]:
        """Echo each."""
        self.note("stream opened")
        try:
            async for request in requests:
                yield request
        except asyncio.CancelledError:
            self.note("stream cancelled")
            raise
        self.note("stream half-closed")

    async def stream_read(self, requests: object, context: _Context) -> None:
        """Echo each by `read` and `write`."""
        while True:
            # The stubs leave out that `read` answers EOF at the half-close.
            request: Any = await context.read()
            if request is grpc.aio.EOF:
                return
            await context.write(request)

    def synchronous(self, request: bytes, context: _Context) -> bytes:
        """A plain function, which no asynchronous server should run."""
        return request

    def generated_default(self, request: bytes, context: _Context) -> bytes:
        """What generated code does for a method that a servicer leaves out."""
        context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        context.set_details("Method not implemented!")
        raise NotImplementedError("Method not implemented!")

    async def _sleep(self, context: _Context) -> None:
        done: Any = lambda _context: self.note("done")  # noqa: E731  # the stubs want a generic callable
        context.add_done_callback(done)
        self.note("sleeping")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.note("cancelled")
            raise

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register everything."""
        methods: dict[str, Any] = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Stream": grpc.unary_stream_rpc_method_handler(self.unary_stream),
            "Write": grpc.unary_stream_rpc_method_handler(self.unary_write),
            "Collect": grpc.stream_unary_rpc_method_handler(self.stream_unary),
            "Both": grpc.stream_stream_rpc_method_handler(self.stream_stream),
            "Read": grpc.stream_stream_rpc_method_handler(self.stream_read),
            "Default": grpc.unary_unary_rpc_method_handler(self.generated_default),
        }
        server.add_registered_method_handlers(SERVICE, methods)
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    f"{SERVICE}Generic", {"Unary": grpc.unary_unary_rpc_method_handler(self.unary)}
                ),
            )
        )
