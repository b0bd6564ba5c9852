"""Leaving, and starting where somebody else is already."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import grpc.aio
import pytest
import pytest_asyncio

from parley.chat.v1 import chat_service_pb2 as chat
from parley.chat.v1 import stream_pb2
from parley_server.testing.node_process import NodeFailed, NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient, RawStream, StreamEnded, message, outcome_of
from parley_server.testing.served_log import served_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What is promised is 2 s; the rest is for a busy machine to end a process.
STOP_SECONDS = 2.0 + 3.0
# The grace of 1.5 s, 1 s for what was cancelled and 1 s for what is left then; the rest as above.
STUBBORN_STOP_SECONDS = 3.5 + 3.0
LARGE = "👍" * 99_000


@pytest_asyncio.fixture(loop_scope="module")
async def node(tmp_path: Path, planted: Path) -> AsyncIterator[NodeProcess]:
    """A node for one test, whose log can be held."""
    node = NodeProcess(
        tmp_path / "node", {"sessions.hello_seconds": 60}, (CHEAP_PASSWORDS, planted / "held_appends.py")
    )
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr
    assert "never retrieved" not in node.stderr
    assert "was destroyed" not in node.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_node_leaves_within_two_seconds_whatever_is_open(
    node: NodeProcess, number: signal.Signals
) -> None:
    """Twenty streams, one that said nothing, one whose client does not read, calls in flight: each client
    gets GoAway with its time to come back and NODE_STOPPING, and the process ends with 0. After a start
    everything that was acknowledged is there.

    Planted once: with a minute's grace in `server.stop` the node waited for the client that does not read.
    """
    async with RawClient(node.address) as client, RawClient(node.address) as deaf_connection:
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.group(alice, [bob])
        streams = [
            await (client.connect(alice) if place % 2 else client.subscribe(alice)) for place in range(20)
        ]
        silent = client.open(alice.metadata)
        deaf = await deaf_connection.connect(bob)
        for _ in range(24):
            await client.send(alice, channel_id, LARGE)
        acknowledged: list[int] = []

        async def send() -> None:
            while True:
                try:
                    acknowledged.append((await client.send(alice, channel_id, "to the last")).seq)
                except grpc.aio.AioRpcError as error:
                    assert error.code().name in ("UNAVAILABLE", "CANCELLED"), error
                    return

        sending = [asyncio.ensure_future(send()) for _ in range(4)]

        async def end(stream: RawStream) -> None:
            outcome = await stream.end()
            assert outcome.brief == ("UNAVAILABLE", "NODE_STOPPING")
            go_away = stream.control("go_away")
            assert go_away.reason == stream_pb2.GO_AWAY_REASON_NODE_STOPPING
            assert go_away.resumable
            assert 0 <= go_away.reconnect_after.ToTimedelta().total_seconds() <= 0.2

        ends = [asyncio.ensure_future(end(stream)) for stream in (*streams, silent)]
        while len(acknowledged) < 20:
            await asyncio.wait([*sending, *ends], timeout=0.01)
        started = time.monotonic()
        node.send(number)
        await asyncio.gather(*ends)
        assert await node.wait() == 0
        assert time.monotonic() - started < STOP_SECONDS
        await asyncio.gather(*sending)
        deaf.cancel()
    await node.start()
    async with RawClient(node.address) as client:
        seqs = [event.seq for event in await served_log(client, bob, channel_id)]
        assert set(acknowledged) <= set(seqs)
        assert len(set(acknowledged)) == len(acknowledged)


async def test_what_waits_for_the_log_when_the_node_leaves_is_unknown_and_safe_to_repeat(
    node: NodeProcess,
) -> None:
    """Sends held at the log while the node is told to leave: their callers get UNAVAILABLE or an answer, the
    node leaves all the same, and repeating them after the start leaves each once.
    """
    hold = node.data / "HOLD"
    async with RawClient(node.address) as client:
        alice = await client.sign_up()
        channel_id = await client.group(alice)
        requests = [message(channel_id, f"{number}") for number in range(10)]
        stream = await client.connect(alice)
        hold.touch()
        for request_id, request in enumerate(requests[:5], start=1):
            await stream.send(request_id=request_id, send_message=request)
        await stream.barrier()
        calls = [
            asyncio.ensure_future(outcome_of(client.chat.SendMessage(request, metadata=alice.metadata)))
            for request in requests[5:]
        ]
        await client.chat.GetInbox(chat.GetInboxRequest(), metadata=alice.metadata)
        node.send(signal.SIGTERM)
        assert (await stream.end()).brief == ("UNAVAILABLE", "NODE_STOPPING")
        outcomes = await asyncio.gather(*calls)
        assert {outcome.code.name for outcome in outcomes} <= {"UNAVAILABLE", "CANCELLED", "OK"}
        hold.unlink()
        assert await node.wait() == 0
    await node.start()
    async with RawClient(node.address) as client:
        answers = [await client.chat.SendMessage(request, metadata=alice.metadata) for request in requests]
        assert sorted(answer.seq for answer in answers) == list(range(3, 13))


async def test_a_call_that_takes_no_cancellation_does_not_hold_the_node(
    tmp_path: Path, planted: Path
) -> None:
    """The node waits for it as long as it says, a few seconds, and goes. Planted: the process waits for every
    task, as asyncio's runner does by itself; it never ended. The transport's own 5 s for what it cancelled;
    it was late.
    """
    node = NodeProcess(tmp_path / "node", plants=(CHEAP_PASSWORDS, planted / "stubborn_log_in.py"))
    try:
        await node.start()
        async with RawClient(node.address) as client:
            person = await client.sign_up()
            calls = [asyncio.ensure_future(client.log_in(person.username)) for _ in range(2)]
            begun = node.data / "LOG_IN_BEGUN"
            while not begun.exists():
                assert not (await asyncio.wait(calls, timeout=0.01))[0]
            started = time.monotonic()
            node.send(signal.SIGTERM)
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(outcome, grpc.aio.AioRpcError)
                assert outcome.code().name in ("UNAVAILABLE", "CANCELLED")
            assert await node.wait() == 0
            assert time.monotonic() - started < STUBBORN_STOP_SECONDS
        assert "LogIn" in node.stderr or node.settings.get("transport") == "grpcio"
    finally:
        await node.close()


async def test_a_second_node_on_the_same_folder(node: NodeProcess) -> None:
    """It is told who holds the folder, and the first one does not notice.

    Planted once: without the lock the second one served.
    """
    second = NodeProcess(node.data)
    with pytest.raises(NodeFailed, match=rf"in use by process {node.pid}"):
        await second.start()
    await second.close()
    async with RawClient(node.address) as client:
        await client.sign_up()
    (node.data.with_name(node.data.name + ".stderr")).write_text("")


async def test_a_second_node_on_the_same_port(node: NodeProcess, tmp_path: Path) -> None:
    """It is told that the port is in use, and takes none of the first one's connections.

    Planted once: with SO_REUSEPORT both served, each half of the calls.
    """
    for name in ("listen", "metrics_listen"):
        second = NodeProcess(tmp_path / f"second-{name}", {name: node.address})
        with pytest.raises(NodeFailed, match=rf"{node.address}.*in use"):
            await second.start()
        await second.close()
    async with RawClient(node.address) as client:
        await client.sign_up()


async def test_a_node_that_is_paused_and_goes_on_has_lost_nothing(node: NodeProcess) -> None:
    """SIGSTOP in the middle of sends and SIGCONT: every send is answered, the streams go on."""
    async with RawClient(node.address) as client:
        alice = await client.sign_up()
        channel_id = await client.group(alice)
        stream = await client.connect(alice)
        sends = [asyncio.ensure_future(client.send(alice, channel_id)) for _ in range(50)]
        node.send(signal.SIGSTOP)
        await asyncio.sleep(0.5)
        node.send(signal.SIGCONT)
        seqs = sorted(answer.seq for answer in await asyncio.gather(*sends))
        assert seqs == list(range(3, 53))
        await stream.at_least(50)
        assert stream.event_seqs(channel_id) == seqs
        try:
            await stream.barrier()
        except StreamEnded as ended:
            raise AssertionError("the pause ended the stream") from ended
        stream.cancel()
