"""A node that listens on a unix socket: a proxy on the same machine reaches it there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import parley

if TYPE_CHECKING:
    from tests.scenario.conftest import StartNode


async def test_a_node_says_where_its_unix_socket_is(start_node: StartNode) -> None:
    """The address is the one to connect to, also after a kill. Planted: host and port cut out of it, as of
    other addresses: "unix:1".
    """
    # The path of a socket may have 107 bytes: pytest's own folders can be longer.
    with tempfile.TemporaryDirectory() as folder:
        listen = f"unix:{Path(folder) / 'node.socket'}"
        node = await start_node(listen=listen)
        for _ in range(2):
            assert node.address == listen
            async with grpc.aio.insecure_channel(node.address) as channel:
                health: Any = health_pb2_grpc.HealthStub(channel)
                answer = await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=20)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            await node.kill()
            await node.start()


async def test_a_client_talks_over_a_unix_socket_and_never_with_tls(start_node: StartNode) -> None:
    """Both refusals come before anything is sent. Planted: no check of TLS; found by a failure to connect."""
    with tempfile.TemporaryDirectory() as folder:
        node = await start_node(listen=f"unix:{Path(folder) / 'node.socket'}")
        alice = await parley.sign_up(node.address, "alice", "a long password")
        bob = await parley.log_in(node.address, "alice", "a long password")
        async with parley.connect(node.address, token=alice) as writer:
            channel = await writer.create_group("trip")
            async with parley.connect(node.address, token=bob) as reader:
                stream = reader.events()
                await stream.ready()
                sent = await channel.send("hello")
                async for event in stream:
                    if isinstance(event, parley.MessageEvent):
                        assert (event.channel_id, event.seq, event.text) == (channel.id, sent.seq, "hello")
                        break
        with pytest.raises(ValueError, match="without TLS"):
            await parley.log_in(node.address, "alice", "a long password", tls=parley.Tls())
        with pytest.raises(ValueError, match="without TLS"):
            parley.connect(["localhost:1", node.address], token=alice, tls=parley.Tls())
