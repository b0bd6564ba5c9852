"""What connections and calls leave behind."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from parley_wire import frames
from parley_wire.connection import Connection
from parley_wire.errors import ErrorCode
from parley_wire.events import RequestReceived
from parley_wire.headers import encode
from parley_wire.limits import Limits
from parley_wire.options import ServerOptions
from parley_wire.server_connection import ServerConnection
from parley_wire.servicer_call import ServicerCall
from parley_wire.stream import Stream
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import RESPONSE, Peer, message
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from .conftest import StartServer

MIB = 1024 * 1024


async def test_closed_connections_leave_no_cycles(start_server: StartServer) -> None:
    """Everything of a connection is freed at once, without the garbage collector: planted, a reference from
    the sender back to its connection was found.
    """
    service = EchoService()
    server, address = await start_server(service.add_to)
    kinds = (ServerConnection, Connection, Stream, ServicerCall)

    def alive() -> int:
        return sum(isinstance(thing, kinds) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()
        for _ in range(20):
            async with SocketPeer(address) as peer:
                peer.shake_hands()
                peer.request(1, "Unary")
                peer.body(1, message(b"hi"), end_stream=True)
                await peer.trailers(1)
                peer.request(3, "Both")
                peer.write(frames.ping(b"12345678", ack=False))
                await peer.until(frames.PING)
        await until(lambda: server.calls == 0 and not server.tasks)
        await until(lambda: not server._connections)
        await asyncio.sleep(0.05)
        assert alive() - before < 10
    finally:
        gc.enable()


def busy_for_a_while(peer: Peer) -> None:
    """Three thousand streams at a time, with data that waits, and different headers in each request."""
    core = peer.connection
    streams = []
    for stream_id in range(1, 6001, 2):
        block = peer.encoder.encode([*HEADERS, (b"x-trace", f"trace-{stream_id}".encode())])
        (event,) = peer.feed(frames.headers(stream_id, block, end_stream=True))
        assert isinstance(event, RequestReceived)
        core.sender.headers(event.stream, encode(RESPONSE), end_stream=False)
        core.sender.data(event.stream, b"x" * 100)
        streams.append(event.stream)
    for stream in streams:
        core.reset(stream, ErrorCode.CANCEL)
    while core.sender.has_more:
        core.sender.take()
    core.closed_streams = core.sender.drained = None


HEADERS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/x"),
    (b"content-type", b"application/grpc"),
]


def test_an_idle_connection_gives_back_what_it_took() -> None:
    """Once its peer has been silent for a while. Planted: untrimmed it kept 190 KB more than a new one;
    what stays now is the peer's header table, at most 4 KiB of fields.
    """
    limits = Limits(streams_per_connection=5000)
    busy_for_a_while(Peer(limits=limits).shake_hands())
    tracemalloc.start()
    try:
        peer = Peer(limits=limits).shake_hands()
        core = peer.connection
        # The other side is the test's own.
        del peer.decoder
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        busy_for_a_while(peer)
        core.trim()
        peer.encoder = None  # type: ignore[assignment]
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 20_000


async def test_compressed_requests_that_nobody_reads_stay_small(start_server: StartServer) -> None:
    """A handler that does not read, and a window full of messages that are a thousand times as large once
    they are unpacked. Planted: unpacked as they came, they took fifteen times 4 MiB.
    """
    entered, go = asyncio.Event(), asyncio.Event()
    sizes: list[int] = []

    async def lazy(requests: Any, _context: object) -> None:
        entered.set()
        await go.wait()
        async for request in requests:
            sizes.append(len(request))  # noqa: PERF401  # the list is the outcome

    def register(server: grpc.aio.Server) -> None:
        handler: Any = grpc.stream_stream_rpc_method_handler(lazy)
        server.add_registered_method_handlers(SERVICE, {"Both": handler})

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(b"\0" * 4 * MIB) + packer.flush()
    _, address = await start_server(register)
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        fields = [(n, f"/{SERVICE}/Both".encode() if n == b":path" else v) for n, v in HEADERS]
        peer.write(frames.headers(1, encode([*fields, (b"grpc-encoding", b"gzip")]), end_stream=False))
        await entered.wait()
        tracemalloc.start()
        try:
            for at in range(15):
                peer.body(1, message(packed, 1), end_stream=at == 14)
            peer.write(frames.ping(b"12345678", ack=False))
            while (await peer.until(frames.PING)).payload != b"12345678":
                pass
            held, peak = tracemalloc.get_traced_memory()
            assert peak < 4 * MIB, (held, peak)
        finally:
            tracemalloc.stop()
        go.set()
        await peer.trailers(1)
    assert sizes == [4 * MIB] * 15


async def _discard(_request: bytes, _context: object) -> bytes:
    return b""


def _register_discarding(server: grpc.aio.Server) -> None:
    handler: Any = grpc.unary_unary_rpc_method_handler(_discard)
    server.add_registered_method_handlers(SERVICE, {"Unary": handler})


async def test_compressed_requests_of_many_calls_are_unpacked_one_by_one(start_server: StartServer) -> None:
    """Hundreds of them fit one read. Planted: unpacked as they came they took 160 MiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(b"\0" * 4 * MIB) + packer.flush()
    _, address = await start_server(_register_discarding)
    async with SocketPeer(address) as peer:
        peer.shake_hands()
        fields = [(n, f"/{SERVICE}/Unary".encode() if n == b":path" else v) for n, v in HEADERS]
        head = encode([*fields, (b"grpc-encoding", b"gzip")])
        calls = range(1, 2 * 15, 2)
        tracemalloc.start()
        try:
            for stream_id in calls:
                peer.write(
                    frames.headers(stream_id, head, end_stream=False),
                    frames.frame(frames.DATA, frames.END_STREAM, stream_id, message(packed, 1)),
                )
            for stream_id in calls:
                await peer.trailers(stream_id)
            assert tracemalloc.get_traced_memory()[1] < 12 * MIB
        finally:
            tracemalloc.stop()


async def test_unpacking_has_its_price(start_server: StartServer) -> None:
    """What is little for the sender and much for us counts, whether it can be unpacked or not: the connection
    ends. Planted: without the price any number was unpacked.
    """
    options = ServerOptions(
        receive_message_bytes=MIB, limits=Limits(control_frames_burst=100, control_frames_per_second=1)
    )
    for size in (MIB, 2 * MIB):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        packed = packer.compress(b"\0" * size) + packer.flush()
        _, address = await start_server(_register_discarding, options=options)
        async with SocketPeer(address) as peer:
            peer.shake_hands()
            fields = [(n, f"/{SERVICE}/Unary".encode() if n == b":path" else v) for n, v in HEADERS]
            peer.write(frames.headers(1, encode([*fields, (b"grpc-encoding", b"gzip")]), end_stream=False))
            peer.body(1, message(packed, 1), end_stream=True)
            goaway = await peer.until(frames.GOAWAY)
            assert int.from_bytes(goaway.payload[4:8], "big") == ErrorCode.ENHANCE_YOUR_CALM
