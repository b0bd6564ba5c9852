"""Calls that end for a reason below their handler: what their status carries."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

import parley_wire
from parley.auth.v1 import auth_service_pb2
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import Outcome, RawClient, outcome_of, reason_of
from parley_server.testing.raw_client import message as message_to
from parley_server.transport import wire as wire_transport
from parley_wire import frames
from parley_wire.errors import ErrorCode
from parley_wire.limits import Limits
from parley_wire.options import ServerOptions
from parley_wire.settings import INITIAL_WINDOW_SIZE
from parley_wire.testing.echo_client import unary_of
from parley_wire.testing.echo_service import SERVICE, EchoService
from parley_wire.testing.eventually import until
from parley_wire.testing.peer import message
from parley_wire.testing.raw_handlers import Mirror
from parley_wire.testing.socket_peer import SocketPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

KIB = 1024


class World:
    """A server with low limits that tells of faults as a node does, what it told, its service, and a client
    of grpcio.
    """

    def __init__(
        self,
        server: parley_wire.Server,
        service: EchoService,
        port: int,
        faults: list[parley_wire.CallFault],
    ) -> None:
        self.server = server
        self.service = service
        self.faults = faults
        self.address = f"127.0.0.1:{port}"
        self.channel = grpc.aio.insecure_channel(self.address)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    options = ServerOptions(
        receive_message_bytes=64 * KIB,
        partial_messages_bytes=48 * KIB,
        concurrent_calls=2,
        limits=Limits(header_list_bytes=2000),
    )
    faults: list[parley_wire.CallFault] = []
    server = parley_wire.Server(
        options,
        fault_metadata=partial(wire_transport.fault_metadata, request_limit_bytes=64 * KIB),
        on_fault=faults.append,
    )
    service = EchoService()
    service.add_to(server)
    server.add_registered_method_handlers(
        SERVICE, {"Raw": parley_wire.RawMethod(Chatty, request_streaming=True)}
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    world = World(server, service, port, faults)
    yield world
    await world.channel.close()
    await server.stop(0)


class Chatty(Mirror):
    """Answers "much" with more than a window takes, and "end" with its end."""

    def received(self, message: bytes) -> None:
        if message == b"end":
            self._call.close(grpc.StatusCode.OK)
        else:
            self._call.send(b"x" * 100 * KIB if message == b"much" else message)


async def told(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, bool]:
    """Code, reason and whether there is a time to wait; the details must agree with the status."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    error = raised.value
    trailing: Any = error.trailing_metadata()
    encoded = dict(trailing or ()).get("grpc-status-details-bin")
    if encoded is None:
        return error.code(), "", False
    status = status_pb2.Status.FromString(encoded)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert [detail.Unpack(info) for detail in status.details].count(True) == 1
    assert info.domain == "parley"
    return error.code(), info.reason, any(detail.Unpack(retry) for detail in status.details)


async def test_a_full_server(world: World) -> None:
    """Says that waiting helps. Planted: without details a client could not tell this from a message that is
    too large, and tried that again.
    """
    unary = unary_of(world.channel)
    calls = [unary(b"sleep") for _ in range(2)]
    await world.service.until("sleeping")
    await until(lambda: world.server.calls == 2)
    assert await told(unary(b"hi")) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER_BUSY", True)
    for call in calls:
        call.cancel()


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_message_that_is_too_large(world: World, compression: grpc.Compression) -> None:
    """As it comes, or once it is unpacked, on a call and on a stream: waiting does not help."""
    expected = (grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE", False)
    request = b"x" * 65 * KIB
    assert await told(unary_of(world.channel)(request, compression=compression)) == expected
    stream: Any = world.channel.stream_unary(f"/{SERVICE}/Collect")
    assert await told(stream(iter([request]), compression=compression)) == expected


async def test_headers_that_are_too_large(world: World) -> None:
    """The same."""
    call = unary_of(world.channel)(b"", metadata=(("x", "y" * 3000),))
    assert await told(call) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE", False)


async def test_too_many_large_requests(world: World) -> None:
    """Of all clients together: later there is room."""
    async with SocketPeer(world.address) as peer:
        peer.shake_hands()
        peer.request(1, "Both")
        peer.body(1, message(b"x" * 60 * KIB)[: 16 * KIB])
        await world.service.until("stream opened")
        call: Any = world.channel.stream_unary(f"/{SERVICE}/Collect")
        requests = iter([b"x" * 60 * KIB])
        assert await told(call(requests)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER_BUSY", True)


async def test_a_server_that_stops(world: World) -> None:
    """Calls and streams are told that another will serve them, or this one soon."""
    call = unary_of(world.channel)(b"sleep")
    await world.service.until("sleeping")
    stopping = asyncio.create_task(world.server.stop(0))
    assert await told(call) == (grpc.StatusCode.UNAVAILABLE, "NODE_STOPPING", True)
    await stopping


async def test_codes_that_say_it_all(world: World) -> None:
    """No reason of the catalogue belongs to these."""
    unary = unary_of(world.channel)
    assert await told(unary(b"sleep", timeout=0.2)) == (grpc.StatusCode.DEADLINE_EXCEEDED, "", False)
    missing: Any = world.channel.unary_unary("/no/method")
    assert await told(missing(b"")) == (grpc.StatusCode.UNIMPLEMENTED, "", False)


async def test_a_request_that_is_broken(world: World) -> None:
    """A message that says it is compressed, and is not: INTERNAL, as gRPC wants it."""
    async with SocketPeer(world.address) as peer:
        peer.shake_hands()
        peer.request(1, "Unary")
        peer.body(1, message(b"x", 1), end_stream=True)
        trailers = (await peer.trailers(1)).payload
    assert b"grpc-status\x0213" in trailers
    assert b"grpc-status-details-bin" in trailers


async def test_each_fault_is_told_once(world: World) -> None:
    """The owner hears of each call that ends below its handler, with the fault that ended it: refused, too
    large, of a method that nobody serves. Planted: told by each attempt to end a call, as the metadata was
    asked for, the raw call counted twice.
    """
    missing: Any = world.channel.unary_unary("/no/method")
    await told(missing(b""))
    await told(unary_of(world.channel)(b"x" * 65 * KIB))
    async with SocketPeer(world.address) as peer:
        peer.shake_hands(((INITIAL_WINDOW_SIZE, 1000),))
        peer.request(1, "Raw")
        peer.body(1, message(b"much"))
        # Refused behind data that the client does not take: its end waits.
        peer.body(1, message(b"x" * 65 * KIB)[:5])
        await until(lambda: len(world.faults) == 3)
        await world.server.stop(0)
    assert [fault.cause for fault in world.faults] == [
        parley_wire.FaultCause.OTHER,
        parley_wire.FaultCause.MESSAGE_TOO_LARGE,
        parley_wire.FaultCause.MESSAGE_TOO_LARGE,
    ]


async def test_no_fault_where_somebody_else_ended_the_call(world: World) -> None:
    """The client cut it in the same read as it broke it, or its handler has closed it and the end waits for
    the client when the server stops. Planted: both were told.
    """
    async with SocketPeer(world.address) as peer:
        peer.shake_hands(((INITIAL_WINDOW_SIZE, 1000),))
        await peer.until(frames.SETTINGS)
        for stream_id, method in ((1, "Raw"), (3, "Both")):
            peer.request(stream_id, method)
            await until(lambda: world.server.calls == 1)
            # In one piece, so that the server reads it at once.
            broken = frames.frame(frames.DATA, 0, stream_id, message(b"x" * 65 * KIB)[:5])
            peer.write(broken + frames.rst_stream(stream_id, ErrorCode.CANCEL))
            await until(lambda: world.server.calls == 0)
        peer.request(5, "Raw")
        peer.body(5, message(b"much") + message(b"end"))
        await peer.until(frames.DATA, 5)
        await world.server.stop(0)
    assert world.faults == []


async def test_a_fault_behind_data_that_waits(world: World) -> None:
    """A servicer's call is reset then, and its owner hears of it. Planted: not told."""
    async with SocketPeer(world.address) as peer:
        peer.shake_hands(((INITIAL_WINDOW_SIZE, 0),))
        peer.request(1, "Both")
        peer.body(1, message(b"hi"))
        await until(lambda: any(c.core.sender.queued_bytes for c in world.server._connections))
        peer.body(1, message(b"x" * 65 * KIB)[:5])
        assert (await peer.until(frames.RST_STREAM, 1)).code == ErrorCode.CANCEL
    assert [fault.cause for fault in world.faults] == [parley_wire.FaultCause.MESSAGE_TOO_LARGE]


async def test_a_parley_node(tmp_path: Path) -> None:
    """A request beyond the node's limit is refused by name, with the limit. A call's by the transport, which
    unpacks no more than that; a stream's by the node, and the stream goes on, until one is so large that not
    even its request_id is read. Planted: four times the limit were unpacked for any call, token or not; the
    same limit for streams, and the first large request ended one; details without the limit.
    """
    limit = 10_000
    node = NodeProcess(tmp_path / "node", {"transport": "wire", "limits.request_bytes": limit})
    await node.start()
    try:
        async with RawClient(node.address) as client:
            for size in (2 * limit, 10 * limit):
                for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
                    log_in = client.auth.LogIn(
                        auth_service_pb2.LogInRequest(username="x" * size), compression=compression
                    )
                    outcome = await outcome_of(log_in)
                    assert_refused(outcome, limit)
                    assert f"{limit}" in outcome.message and "received" in outcome.message
            person = await client.sign_up()
            stream = await client.connect(person)
            large = message_to("nowhere", "x" * 2 * limit)
            reply = await stream.ask(send_message=large)
            assert reason_of(reply.error) == "REQUEST_TOO_LARGE"
            await stream.barrier()
            await stream.send(request_id=1, send_message=message_to("nowhere", "x" * 5 * limit))
            assert_refused(await stream.end(), limit)
    finally:
        await node.close()


def assert_refused(outcome: Outcome, limit_bytes: int) -> None:
    assert outcome.brief == ("RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE")
    info = outcome.detail(error_details_pb2.ErrorInfo)
    assert info is not None and dict(info.metadata) == {"limit_bytes": str(limit_bytes)}
    assert outcome.detail(error_details_pb2.RetryInfo) is None
