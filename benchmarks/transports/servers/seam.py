"""Parley's stream seam on both of its transports: what a node runs, without sessions and storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from benchmarks.transports.servers.grpcio import MANY_AT_ONCE, unary
from benchmarks.transports.speech import ECHO, SERVICE, SUBSCRIBE, UNARY

import parley_wire
from parley_server.transport import grpcio as grpcio_transport
from parley_server.transport import wire as wire_transport

if TYPE_CHECKING:
    from benchmarks.transports.crowd import Crowd

    from parley_server.ports.stream import DeviceStream

CLOSE_SECONDS = 10.0


class Member:
    """A stream handler that echoes, and is a member of the crowd."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    def opened(self, stream: DeviceStream) -> None:
        self._stream = stream
        self._crowd.join(self, stream.send_encoded)

    def received(self, message: bytes) -> None:
        self._stream.send_encoded(message)

    def writable(self) -> None:
        self._crowd.took(self)

    def half_closed(self) -> None:
        self._stream.close(None)

    def closed(self) -> None:
        self._crowd.leave(self)


async def start_wire(crowd: Crowd) -> tuple[int, object]:
    """Serve on parley_wire; returns the port, and what lives as long as it serves."""
    return await _start(crowd, parley_wire.Server(), wire_transport)


async def start_grpcio(crowd: Crowd) -> tuple[int, object]:
    """Serve on grpc.aio; returns the port, and what lives as long as it serves."""
    return await _start(crowd, grpc.aio.server(options=MANY_AT_ONCE), grpcio_transport)


async def _start(crowd: Crowd, server: grpc.aio.Server, transport: Any) -> tuple[int, object]:
    stream = transport.stream_stream(lambda: Member(crowd), close_seconds=CLOSE_SECONDS)
    methods: Any = {
        ECHO: stream,
        SUBSCRIBE: stream,
        UNARY: grpc.unary_unary_rpc_method_handler(unary),
    }
    server.add_registered_method_handlers(SERVICE, methods)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return port, server
