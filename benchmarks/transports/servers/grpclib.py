"""grpclib as its examples show it, with a queue for each subscriber. Messages are bytes."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from benchmarks.transports.queued import Queued
from benchmarks.transports.speech import ECHO, SERVICE, SUBSCRIBE, UNARY
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server

if TYPE_CHECKING:
    from benchmarks.transports.crowd import Crowd
    from grpclib.server import Stream


class BytesCodec(CodecBase):
    """Messages as they are."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class Streams:
    """The service."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    async def echo(self, stream: Stream[bytes, bytes]) -> None:
        """Answer with each request."""
        async for message in stream:
            await stream.send_message(message)

    async def subscribe(self, stream: Stream[bytes, bytes]) -> None:
        """Send what is published."""
        member = Queued(self._crowd)
        try:
            while True:
                await stream.send_message(await member.next())
        finally:
            member.leave()

    async def unary(self, stream: Stream[bytes, bytes]) -> None:
        """Answer with the request."""
        request = await stream.recv_message()
        assert request is not None
        await stream.send_message(request)

    def __mapping__(self) -> dict[str, Handler]:
        streaming = Cardinality.STREAM_STREAM
        return {
            f"/{SERVICE}/{ECHO}": Handler(self.echo, streaming, bytes, bytes),
            f"/{SERVICE}/{SUBSCRIBE}": Handler(self.subscribe, streaming, bytes, bytes),
            f"/{SERVICE}/{UNARY}": Handler(self.unary, Cardinality.UNARY_UNARY, bytes, bytes),
        }


async def start(crowd: Crowd) -> tuple[int, object]:
    """Serve; returns the port, and what lives as long as it serves."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    server = Server([Streams(crowd)], codec=BytesCodec())
    await server.start(sock=listening, backlog=4096)
    return int(listening.getsockname()[1]), server
