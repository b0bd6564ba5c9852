"""What an operator's tools see: metrics, health per dependency, reflection, log lines."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient, eventually, message, outcome_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, planted: Path) -> AsyncIterator[NodeProcess]:
    """A node with a metrics port, whose accounts can be made unreachable."""
    node = NodeProcess(
        tmp_path_factory.mktemp("metrics") / "node",
        {"metrics_listen": "127.0.0.1:0"},
        (CHEAP_PASSWORDS, planted / "failing_accounts_check.py"),
    )
    await node.start()
    yield node
    await node.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it."""
    async with RawClient(node.address) as client:
        yield client


async def _metrics(node: NodeProcess) -> dict[str, float]:
    def fetch() -> str:
        with urllib.request.urlopen(f"http://{node.metrics_address}/metrics", timeout=10) as answer:
            assert answer.headers["content-type"].startswith("text/plain")
            return str(answer.read().decode())

    text = await asyncio.to_thread(fetch)
    return {
        name: float(value)
        for name, value in re.findall(r"^([a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)$", text, re.MULTILINE)
    }


async def test_metrics_count_what_happened(node: NodeProcess, client: RawClient) -> None:
    """Calls by method and code, what the transport refused, requests on streams, open streams, deliveries,
    ends by reason. Planted: the refusals not counted.
    """
    before = await _metrics(node)
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    stream, bad = await client.connect(bob), client.open(bob.metadata)
    for _ in range(3):
        await client.send(alice, channel_id)
    await outcome_of(client.send(alice, "nowhere"))
    await stream.ask(send_message=message(channel_id))
    await stream.ask(send_message=message("nowhere"))
    await stream.at_least(4)
    await bad.send_bytes(b"\xff")
    await bad.end()
    await outcome_of(client.send(alice, channel_id, "too large" * 200_000))
    send = 'method="/parley.chat.v1.ChatService/SendMessage"'
    after = await _metrics(node)

    def grown(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    def too_large() -> float:
        """Refused by our transport before it is anybody's call; grpcio leaves that to us."""
        return grown('parley_call_faults_total{cause="message too large",code="RESOURCE_EXHAUSTED"}')

    async def all_counted() -> bool:
        # With grpcio a call is counted when its client has the answer already.
        nonlocal after
        after = await _metrics(node)
        return too_large() + grown(f'parley_calls_total{{code="RESOURCE_EXHAUSTED",{send}}}') == 1

    await eventually(all_counted)
    assert grown(f'parley_calls_total{{code="OK",{send}}}') == 3
    assert grown(f'parley_calls_total{{code="NOT_FOUND",{send}}}') == 1
    assert grown(f"parley_call_seconds_count{{{send}}}") == 5 - too_large()
    assert grown('parley_stream_requests_total{code="OK",request="send_message"}') == 1
    assert grown('parley_stream_requests_total{code="NOT_FOUND",request="send_message"}') == 1
    assert grown('parley_streams_ended_total{reason="MALFORMED_FRAME"}') == 1
    assert grown("parley_events_delivered_total") == 4
    assert grown("parley_frames_sent_total") > 0
    assert after["parley_streams_open"] == 1
    stream.cancel()

    async def all_closed() -> bool:
        return (await _metrics(node))["parley_streams_open"] == 0

    await eventually(all_closed)


async def test_unknown_methods_make_no_new_series(node: NodeProcess, client: RawClient) -> None:
    """Callers cannot fill the memory of the node with names of their own making."""
    before = set(await _metrics(node))
    for number in range(20):
        await outcome_of(client.raw(f"/parley.chat.v1.ChatService/Made{number}", b""))
        await outcome_of(client.raw(f"/made.up{number}.Service/Call", b""))
    made = set(await _metrics(node)) - before
    assert not [name for name in made if "ade" in name]


async def test_health_tells_dependencies_apart(node: NodeProcess, client: RawClient) -> None:
    """One dependency fails: it and the whole are NOT_SERVING, the other still serves, and a watcher is told.
    Afterwards everything serves again. All without a token.

    Planted once: with `all` taken as `any` the node as a whole went on as SERVING.
    """
    health: Any = health_pb2_grpc.HealthStub(client.channel)
    messages: Any = health_pb2

    async def statuses() -> dict[str, int]:
        listed = await health.List(messages.HealthListRequest())
        found = {name: status.status for name, status in listed.statuses.items()}
        for name, status in found.items():
            checked = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert checked.status == status
        return found

    async def shows(expected: Mapping[str, int]) -> bool:
        return await statuses() == expected

    watch = health.Watch(health_pb2.HealthCheckRequest(service="store.accounts"))
    assert (await watch.read()).status == SERVING
    serving = {"": SERVING, "store.log": SERVING, "store.accounts": SERVING}
    assert await statuses() == serving
    broken = node.data / "ACCOUNTS_DOWN"
    broken.touch()
    assert (await asyncio.wait_for(watch.read(), 30)).status == NOT_SERVING
    await eventually(lambda: shows(serving | {"": NOT_SERVING, "store.accounts": NOT_SERVING}))
    broken.unlink()
    assert (await asyncio.wait_for(watch.read(), 30)).status == SERVING
    await eventually(lambda: shows(serving))
    watch.cancel()
    outcome = await outcome_of(health.Check(health_pb2.HealthCheckRequest(service="nothing")))
    assert outcome.code.name == "NOT_FOUND"
    assert node.stderr.count("dependency is not healthy") == 1
    assert node.stderr.count("dependency is healthy again") == 1


async def test_secrets_stay_out_of_the_log(node: NodeProcess, client: RawClient) -> None:
    """After log-ins, sends, refusals and garbage the log holds no token, no password and no text."""
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    secret = f"a very private text {time.time_ns()}"
    await client.send(alice, channel_id, secret)
    await outcome_of(client.send(alice, "nowhere", secret))
    stream = await client.connect(alice)
    await stream.send_bytes(b"\xff" + secret.encode())
    await stream.end()
    for hidden in (alice.access_token, alice.refresh_token, "correct horse battery", secret):
        assert hidden not in node.stderr
    with closing(sqlite3.connect(f"file:{node.data / 'accounts.db'}?mode=ro", uri=True)) as connection:
        stored = "\n".join(connection.iterdump())
    for hidden in (alice.refresh_token, "correct horse battery"):
        assert hidden not in stored
    for name in ("keys.json", "operator.token"):
        assert (node.data / name).stat().st_mode & 0o077 == 0
