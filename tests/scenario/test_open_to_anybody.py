"""What callers without a token may hold open: health watches and calls, bounded, and harmless to others."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from parley.auth.v1 import auth_service_pb2
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import RawClient, eventually, outcome_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    StartNode = Callable[..., Awaitable[NodeProcess]]

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4


def _frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload


def _literal(name: str, value: str) -> bytes:
    # HPACK: a literal that is not indexed, lengths below 127.
    return bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def _call(stream_id: int, path: str) -> bytes:
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "node",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    block = b"".join(_literal(name, value) for name, value in fields.items())
    empty_message = bytes(5)
    return _frame(HEADERS, END_HEADERS, stream_id, block) + _frame(DATA, END_STREAM, stream_id, empty_message)


@contextlib.asynccontextmanager
async def _taking_nothing(address: str, path: str) -> AsyncIterator[None]:
    """A client that calls `path` with an empty message and whose flow control lets no answer through."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        no_window = struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, no_window))
        await reader.readexactly(9)  # The node's own settings have come, so it is reading.
        writer.write(_frame(SETTINGS, ACK, 0) + _call(1, path))
        await writer.drain()
        yield
    finally:
        writer.close()


@pytest.fixture
async def node(tmp_path: Path, planted: Path) -> AsyncIterator[NodeProcess]:
    """A node whose accounts can be made unreachable."""
    node = NodeProcess(tmp_path / "node", plants=(planted / "failing_accounts_check.py",))
    await node.start()
    yield node
    await node.close()


async def test_a_watcher_that_takes_nothing_holds_up_nobody(node: NodeProcess) -> None:
    """Others' watches are told what changes, checks go on, and the node leaves in time.

    Planted once: with grpcio's own servicer, which writes under a lock, the other watch heard nothing and the
    node never ended.
    """
    async with RawClient(node.address) as client, contextlib.AsyncExitStack() as deaf:
        for service_path in ("/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check"):
            await deaf.enter_async_context(_taking_nothing(node.address, service_path))
        health: Any = health_pb2_grpc.HealthStub(client.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await asyncio.wait_for(watch.read(), 30)).status == SERVING
        broken = node.data / "ACCOUNTS_DOWN"
        broken.touch()
        assert (await asyncio.wait_for(watch.read(), 30)).status == NOT_SERVING
        broken.unlink()
        assert (await asyncio.wait_for(watch.read(), 30)).status == SERVING
        assert await node.stop() == 0


async def test_health_watches_are_bounded(start_node: StartNode) -> None:
    """One more than may be open is refused by name; where one ends, another may begin; Check is always
    answered.

    Planted once: without the count going down at the end of a watch the last one was refused for ever.
    """
    node = await start_node(**{"limits.health_watches": 3})
    async with RawClient(node.address) as client:
        health: Any = health_pb2_grpc.HealthStub(client.channel)
        open_watches = [health.Watch(health_pb2.HealthCheckRequest(service=f"made up {n}")) for n in range(3)]
        for watch in open_watches:
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        refused = await outcome_of(_first(health.Watch(health_pb2.HealthCheckRequest())))
        assert refused.brief == ("RESOURCE_EXHAUSTED", "SERVER_BUSY")
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING
        open_watches[0].cancel()

        async def taken() -> bool:
            outcome = await outcome_of(_first(health.Watch(health_pb2.HealthCheckRequest())))
            return outcome.code is grpc.StatusCode.OK

        await eventually(taken)


async def test_reflection_streams_are_bounded(start_node: StartNode) -> None:
    """One more than may be open is refused by name; where one ends, another may begin.

    Planted: without the limit one connection held all calls that a node takes; without the count going down
    the last one was refused for ever.
    """
    node = await start_node(**{"limits.reflection_streams": 3})
    async with RawClient(node.address) as client:
        ask: Any = client.channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        question = reflection_pb2.ServerReflectionRequest(list_services="*")

        async def opened() -> Any:
            stream = ask()
            await stream.write(question)
            assert (await stream.read()).list_services_response.service
            return stream

        streams = [await opened() for _ in range(3)]
        # Nothing is asked: of a question that comes after the refusal grpcio makes an INTERNAL of its own.
        refused = await outcome_of(ask().read())
        assert refused.brief == ("RESOURCE_EXHAUSTED", "SERVER_BUSY")
        streams[0].cancel()

        async def taken() -> bool:
            return (await outcome_of(opened())).code is grpc.StatusCode.OK

        await eventually(taken)


async def test_a_connection_says_how_many_streams_it_takes(start_node: StartNode) -> None:
    """SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113, section 6.5.2), as set. Planted: a node took as many on one
    connection as on all.
    """
    for settings, expected in (({}, 1000), ({"limits.streams_per_connection": 7}, 7)):
        node = await start_node(**settings)
        host, _, port = node.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        head = await asyncio.wait_for(reader.readexactly(9), 30)
        assert head[3] == 4
        pairs = await reader.readexactly(int.from_bytes(head[:3], "big"))
        found = {
            int.from_bytes(pairs[at : at + 2], "big"): int.from_bytes(pairs[at + 2 : at + 6], "big")
            for at in range(0, len(pairs), 6)
        }
        assert found[3] == expected
        writer.close()
        await writer.wait_closed()


async def test_calls_that_are_held_open_are_bounded(start_node: StartNode) -> None:
    """Calls whose request never comes count; beyond the limit a call is refused at once, and served again
    when they are gone.

    Planted once: without the limit on the server all of them were taken.
    """
    node = await start_node(**{"limits.streams": 2, "limits.calls_beside_streams": 3})
    async with RawClient(node.address) as idle, RawClient(node.address) as client:
        half_sent: Any = idle.channel.stream_unary("/parley.auth.v1.AuthService/GetJwks")
        held = [half_sent()]

        async def refused() -> bool:
            # One more each time: what is asked here takes a place too, at which a held call may be refused.
            held.append(half_sent())
            return (await outcome_of(client.auth.GetJwks(auth_service_pb2.GetJwksRequest()))).code is (
                grpc.StatusCode.RESOURCE_EXHAUSTED
            )

        async def served() -> bool:
            return (await outcome_of(client.auth.GetJwks(auth_service_pb2.GetJwksRequest()))).code is (
                grpc.StatusCode.OK
            )

        await eventually(refused)
        for call in held:
            call.cancel()
        await eventually(served)


async def _first(watch: Any) -> Any:
    message = await watch.read()
    if message is grpc.aio.EOF:
        raise AssertionError("the watch ended with OK")
    watch.cancel()
    return message
