"""grpc.aio as its examples show it: async generators, a queue for each subscriber. Messages are bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from benchmarks.transports.queued import Queued
from benchmarks.transports.speech import ECHO, SERVICE, SUBSCRIBE, UNARY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.transports.crowd import Crowd

# Without these it refuses streams when many connect at a time.
MANY_AT_ONCE = [
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
]


async def unary(request: bytes, context: object) -> bytes:
    """Answer with the request."""
    return request


async def echo(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
    """Answer with each request."""
    async for request in requests:
        yield request


async def start(crowd: Crowd) -> tuple[int, object]:
    """Serve; returns the port, and what lives as long as it serves."""

    async def subscribe(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        member = Queued(crowd)
        try:
            while True:
                yield await member.next()
        finally:
            member.leave()

    methods: Any = {
        ECHO: grpc.stream_stream_rpc_method_handler(echo),
        SUBSCRIBE: grpc.stream_stream_rpc_method_handler(subscribe),
        UNARY: grpc.unary_unary_rpc_method_handler(unary),
    }
    server = grpc.aio.server(options=MANY_AT_ONCE)
    server.add_registered_method_handlers(SERVICE, methods)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return port, server
