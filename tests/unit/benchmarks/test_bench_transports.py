"""The transports' bench in short, and its load generator: what comes is counted, or the bench fails."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest
from benchmarks.figures import Run
from benchmarks.machine import MachineUnfit
from benchmarks.parties import GeneratorFailed, Round
from benchmarks.report import document
from benchmarks.transports.crowd import Crowd
from benchmarks.transports.event import EVENT_BYTES, events
from benchmarks.transports.generator import built_generator
from benchmarks.transports.kind import GRPCIO, GRPCIO_SEAM, KINDS, TCP, WIRE
from benchmarks.transports.rounds import cpu_row, to_grpcio, to_tcp
from benchmarks.transports.servers.bare_tcp import GREETING, THANKS_BYTES
from benchmarks.transports.speech import SUBSCRIBE, stream
from benchmarks.transports.talk import Talk

from parley_wire import frames
from parley_wire.testing.peer import message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    Loaded = Callable[[str, Serve], Awaitable[Talk]]

ALL = {kind.name for kind in KINDS}
GRPC = {kind.name for kind in KINDS if kind.protocol == "h2"}


@pytest.fixture(scope="session")
def streamload() -> Path:
    """The load generator. Skips without Go; with CI=true that is a failure. Mark such a test needs_go."""
    if shutil.which("go") is None:
        message = "no Go toolchain: the load generator of the transports' bench cannot be built"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return built_generator()


@pytest.fixture
async def loaded(streamload: Path) -> AsyncIterator[Loaded]:
    """Starts a generator on a server that the test is; one connection is open."""
    async with AsyncExitStack() as ending:

        async def start(protocol: str, serve: Serve) -> Talk:
            async def serve_until_gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await serve(reader, writer)
                await gone.wait()
                writer.close()

            gone = asyncio.Event()
            server = await asyncio.start_server(serve_until_gone, "127.0.0.1", 0)
            ending.push_async_callback(server.wait_closed)
            ending.callback(server.close)
            ending.callback(gone.set)
            load = await Talk.begin("the load", (str(streamload),), frozenset(), os.environ)
            ending.push_async_callback(load.end)
            said = stream(protocol, SUBSCRIBE)
            await load.tell(
                address=f"127.0.0.1:{server.sockets[0].getsockname()[1]}",
                protocol=protocol,
                opening=said.opening.hex(),
                message=said.message.hex(),
                stamp_at=said.stamp_at,
                first_call=said.first_call,
            )
            await load.ask(do="open", connections=1, at_once=1, limit_seconds=10.0)
            return load

        yield start


async def _sink(load: Talk, messages: int, go: asyncio.Event, seconds: float = 10.0) -> dict[str, object]:
    order = {"messages": messages, "message_bytes": EVENT_BYTES, "stride": 1, "limit_seconds": seconds}
    await load.ask(do="sink", **order)
    go.set()
    return await load.answer()


@pytest.mark.needs_go
@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((1, 2, 3), ""),
        ((1, 3, 4), "message 3 came after 1: lost, repeated or out of order"),
        ((1, 2, 2), "message 2 came after 2: lost, repeated or out of order"),
        ((1, 2), "1 of 1 connections did not get their 3"),
        ((1, 2, 3, 4), "got 4 messages instead of 3"),
    ],
)
async def test_what_is_not_whole_fails(loaded: Loaded, numbers: tuple[int, ...], said: str) -> None:
    """A lost, a repeated, a missing and a surplus message: each is planted here, and each must be seen."""
    go = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        await reader.readexactly(THANKS_BYTES)
        await go.wait()
        writer.write(b"".join(events(number, 1) for number in numbers))

    load = await loaded("tcp", serve)
    if said:
        with pytest.raises(GeneratorFailed, match=said):
            await _sink(load, 3, go, seconds=0.3)
    else:
        answer = await _sink(load, 3, go)
        assert (answer["messages"], answer["bytes"]) == (3, 3 * EVENT_BYTES)


@pytest.mark.needs_go
@pytest.mark.parametrize("piece", [1, 7, 100_000])
async def test_messages_are_found_however_the_stream_is_cut(loaded: Loaded, piece: int) -> None:
    """Messages over several frames, several in one, and a PING between two halves, which must be answered: a
    reader that takes a frame for a message fails here.
    """
    go = asyncio.Event()
    sent = b"".join(message(events(number, 1)) for number in range(1, 4))
    cuts = (0, 3, 200, 700, len(sent))
    body = [frames.frame(frames.DATA, 0, 1, sent[a:b]) for a, b in pairwise(cuts)]
    output = frames.headers(1, b"\x88", end_stream=False) + body[0] + body[1]
    output += frames.ping(b"12345678", ack=False) + body[2] + body[3]
    answered = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frames.settings(()))
        await go.wait()
        for at in range(0, len(output), piece):
            writer.write(output[at : at + piece])
            await writer.drain()
        await reader.readuntil(frames.ping(b"12345678", ack=True))
        answered.set()

    answer = await _sink(await loaded("h2", serve), 3, go)
    assert (answer["messages"], answer["bytes"]) == (3, 3 * EVENT_BYTES)
    async with asyncio.timeout(10):
        await answered.wait()


def test_no_go_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineUnfit, match="no Go toolchain here"):
        built_generator(tmp_path / "streamload")


def test_groups_take_turns() -> None:
    """Every member gets as many, in order: a line that begins anew each time would favour the first."""
    crowd, got = Crowd(), {name: b"" for name in "abcd"}

    def sender(name: str) -> Callable[[bytes], None]:
        def send(message: bytes) -> None:
            got[name] += message

        return send

    for name in got:
        crowd.join(name, sender(name))
    crowd.line_up()
    for letter in (b"1", b"2", b"3", b"4"):
        crowd.publish(letter, 2)
    assert got == {"a": b"13", "b": b"13", "c": b"24", "d": b"24"}


def test_targets_are_held_against_the_cheaper_grpcio() -> None:
    """Round by round: against either of the two alone, one of these ratios would be lower."""
    rounds = {TCP: (2.0, 4.0), WIRE: (3.0, 3.0), GRPCIO: (10.0, 30.0), GRPCIO_SEAM: (20.0, 15.0)}
    found = {
        kind: [Round({"messages": 1, "seconds": 1.0, "cpu_seconds": 0.1}, used) for used in spent]
        for kind, spent in rounds.items()
    }
    case = cpu_row("load", found)
    assert to_grpcio(case).rounds == [0.3, 0.2]
    assert to_tcp(case).rounds == [1.5, 0.75]


@pytest.mark.needs_go
def test_all_kinds_are_measured_and_judged(streamload: Path, repository: Path, tmp_path: Path) -> None:
    """Every server carries every load; a kind that loses a message would fail the run."""
    path = tmp_path / "record.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/run.py", "--quick", "--only", "g", "--json", path, "--folder", tmp_path],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = msgspec.json.decode(path.read_bytes(), type=Run)
    (scenario,) = run.scenarios
    for case in scenario.cases:
        assert {figure.name for figure in case.figures} == (GRPC if case.name.startswith("unary") else ALL)
        assert all(figure.smallest > 0 for figure in case.figures if figure.unit != "KiB")
    units = [case.figures[0].unit for case in scenario.cases]
    assert units == sorted(units, key=["µs", "ms", "KiB", "%"].index)
    kinds = ("to bare TCP", "to grpc.aio", "events/s/core", "KiB per stream")
    counts = [sum(kind in target.name for target in scenario.targets) for kind in kinds]
    assert counts == [4, 5, 1, 1]
    page = document(run, "")
    assert all(f"| {case.name}" in page for case in scenario.cases)
    assert ("MISSED" in done.stdout) == any(not target.met for target in scenario.targets)
