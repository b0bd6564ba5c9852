"""What the transports cost, side by side in one run: parley_wire, grpc.aio and a bare TCP writer.

Each server runs in a process of its own, pinned to one core where there are two; the clients share the other.
Both gRPC servers carry the same stream handlers through Parley's seam, without sessions or storage. Figures
are the server's CPU time (user and system, all threads). `python benchmarks/wire_side_by_side.py [--quick]`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import uvloop

import parley_wire
from parley_server.transport import grpcio as grpcio_transport
from parley_server.transport import wire as wire_transport
from parley_wire import frames
from parley_wire.headers import encode
from parley_wire.testing.peer import message

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from parley_server.ports.stream import DeviceStream

SERVICE = "bench.Stream"
EVENT = b"e" * 304
KINDS = ("tcp", "wire", "grpcio")
# The targets of the complete server; here only the transports are measured.
FANOUT_TO_TCP = 1.6
FANOUT_TO_GRPCIO = 0.35
UNARY_TO_GRPCIO = 0.35
IDLE_BYTES = 5 * 1024


class Sink:
    """A stream handler that only remembers its stream."""

    def __init__(self, streams: set[DeviceStream]) -> None:
        self._streams = streams

    def opened(self, stream: DeviceStream) -> None:
        self._stream = stream
        self._streams.add(stream)

    def received(self, message: bytes) -> None:
        """Nothing is asked."""

    def writable(self) -> None:
        """The load reads."""

    def half_closed(self) -> None:
        self._stream.close(None)

    def closed(self) -> None:
        self._streams.discard(self._stream)


class TcpSink(asyncio.Protocol):
    """The floor: a connection that is written to."""

    def __init__(self, transports: set[Any]) -> None:
        self._transports = transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transports.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transports.discard(self._transport)


async def unary(request: bytes, context: object) -> bytes:
    return request


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def serve(kind: str) -> None:
    """The server's process: commands on standard input, one JSON line for each on standard output."""
    targets: set[Any] = set()
    loop = asyncio.get_running_loop()
    if kind == "tcp":
        listening = await loop.create_server(lambda: TcpSink(targets), "127.0.0.1", 0, backlog=4096)
        port = listening.sockets[0].getsockname()[1]
        payload = frames.whole_message(1, EVENT)
        send: Callable[[Any, bytes], object] = lambda target, data: target.write(data)  # noqa: E731
    else:
        server: grpc.aio.Server
        transport: ModuleType
        if kind == "wire":
            server, transport = parley_wire.Server(), wire_transport
        else:
            many = [
                ("grpc.server.max_pending_requests", 100_000),
                ("grpc.server.max_pending_requests_hard_limit", 200_000),
            ]
            server, transport = grpc.aio.server(options=many), grpcio_transport
        methods: Any = {
            "Connect": transport.stream_stream(lambda: Sink(targets), close_seconds=10),
            "Unary": grpc.unary_unary_rpc_method_handler(unary),
        }
        server.add_registered_method_handlers(SERVICE, methods)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        payload = EVENT
        send = lambda target, data: target.send_encoded(data)  # noqa: E731
    print(json.dumps({"port": port}), flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        if command["do"] == "fan out":
            answer = await fan_out(targets, send, payload, command["ticks"], command["events"])
        else:
            answer = {"cpu": cpu_seconds(), "resident": resident_bytes(), "streams": len(targets)}
        print(json.dumps(answer), flush=True)


async def fan_out(
    targets: set[Any], send: Callable[[Any, bytes], object], payload: bytes, ticks: int, events: int
) -> dict[str, float]:
    """Each tick sends the same new message to all; `events` of them are joined, as an outbox joins them."""
    targets_now = list(targets)
    started = cpu_seconds()
    for _ in range(ticks):
        data = payload * events
        for target in targets_now:
            send(target, data)
        await asyncio.sleep(0.002)
    # What still waits is part of the work: until the process rests.
    before = started
    while cpu_seconds() - before > 0.005:
        before = cpu_seconds()
        await asyncio.sleep(0.3)
    return {"cpu": cpu_seconds() - started, "delivered": ticks * events * len(targets_now)}


class Load(asyncio.Protocol):
    """Opens one stream, or none, and throws away what it reads: it costs less than any server."""

    def __init__(self, *, grpc_stream: bool) -> None:
        self._grpc_stream = grpc_stream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        if self._grpc_stream:
            fields = [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", f"/{SERVICE}/Connect".encode()),
                (b":authority", b"localhost"),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
            ]
            transport.write(  # type: ignore[attr-defined]
                frames.PREFACE
                + frames.settings(((4, 2**31 - 1),))
                + frames.SETTINGS_ACK
                + frames.window_update(0, 2**31 - 1 - 65_535)
                + frames.headers(1, encode(fields), end_stream=False)
            )


class ServerProcess:
    """One server in a process of its own."""

    def __init__(self, kind: str, core: int | None) -> None:
        command = [sys.executable, __file__, "--serve", kind]
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.kind = kind
        self.connected = 0
        self.port = int(self._answer()["port"])

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer

    async def ask(self, **command: object) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return await asyncio.to_thread(self._answer)

    async def connect(self, count: int) -> list[Load]:
        loop = asyncio.get_running_loop()
        loads: list[Load] = []
        for _ in range(count):
            make = lambda: Load(grpc_stream=self.kind != "tcp")  # noqa: E731
            loads.append((await loop.create_connection(make, "127.0.0.1", self.port))[1])
        self.connected += count
        async with asyncio.timeout(60):
            while (await self.ask(do="look"))["streams"] < self.connected:  # noqa: ASYNC110  # polls a process
                await asyncio.sleep(0.05)
        return loads

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.terminate()
        self._process.wait()


async def measure_fan_out(connections: int, events: int, ticks: int, core: int | None) -> dict[str, float]:
    """Microseconds of server CPU per event and device."""
    found: dict[str, float] = {}
    for kind in KINDS:
        server = ServerProcess(kind, core)
        loads = await server.connect(connections)
        await server.ask(do="fan out", ticks=5, events=events)
        answer = await server.ask(do="fan out", ticks=ticks, events=events)
        found[kind] = answer["cpu"] / answer["delivered"] * 1e6
        for load in loads:
            load.transport.abort()
        server.close()
    return found


async def measure_idle(connections: int, core: int | None) -> dict[str, float]:
    """Bytes of resident memory per connection with one open stream."""
    found: dict[str, float] = {}
    for kind in KINDS:
        server = ServerProcess(kind, core)
        first = await server.connect(100)
        before = (await server.ask(do="look"))["resident"]
        cpu = (await server.ask(do="look"))["cpu"]
        loads = await server.connect(connections)
        after = await server.ask(do="look")
        found[kind] = (after["resident"] - before) / connections
        found[f"{kind} accept"] = (after["cpu"] - cpu) / connections * 1e6
        for load in [*first, *loads]:
            load.transport.abort()
        server.close()
    return found


async def measure_unary(requests: int, core: int | None) -> dict[str, float]:
    """Microseconds of server CPU per unary call, loaded by h2load (10 connections, 10 calls each)."""
    found: dict[str, float] = {}
    program = shutil.which("h2load")
    if program is None:
        return found
    with tempfile.NamedTemporaryFile() as body:
        body.write(message(b"x" * 100))
        body.flush()
        for kind in KINDS[1:]:
            server = ServerProcess(kind, core)
            command = [program, "-n", "%d", "-c", "10", "-m", "10", "-d", body.name]
            command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
            command.append(f"http://127.0.0.1:{server.port}/{SERVICE}/Unary")
            for count in (500, requests):
                before = await server.ask(do="look")
                filled = [part.replace("%d", str(count)) for part in command]
                output = await asyncio.to_thread(subprocess.run, filled, capture_output=True, text=True)
                after = await server.ask(do="look")
            done = int(re.search(r"(\d+) succeeded", output.stdout).group(1))  # type: ignore[union-attr]
            found[kind] = (after["cpu"] - before["cpu"]) / done * 1e6
            server.close()
    return found


def verdict(name: str, ratio: float, target: float) -> None:
    print(f"    {name}: {ratio:.2f} (target {target}) {'ok' if ratio <= target else 'MISSED'}")


def print_row(name: str, found: dict[str, float], unit: str) -> None:
    cells = "   ".join(f"{kind} {value:9.2f}" for kind, value in found.items())
    print(f"{name:34} {cells}   {unit}", flush=True)


async def run(*, quick: bool) -> None:
    core = 0 if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else None
    if core is not None:
        os.sched_setaffinity(0, set(range(1, os.cpu_count() or 1)))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; a busy machine blurs all this")
    shapes = [(200, 1)] if quick else [(200, 1), (200, 10), (200, 100), (1000, 1), (1000, 10), (5000, 1)]
    for connections, events in shapes:
        ticks = max(10, min(200, 40_000 // connections // (1 + events // 10)))
        found = await measure_fan_out(connections, events, ticks, core)
        print_row(f"fan-out {connections} x {events}", found, "CPU us per event")
        verdict("to bare TCP", found["wire"] / found["tcp"], FANOUT_TO_TCP)
        verdict("to grpc.aio", found["wire"] / found["grpcio"], FANOUT_TO_GRPCIO)
    found = await measure_unary(2000 if quick else 20_000, core)
    if found:
        print_row("unary", found, "CPU us per call")
        verdict("to grpc.aio", found["wire"] / found["grpcio"], UNARY_TO_GRPCIO)
    found = await measure_idle(500 if quick else 5000, core)
    print_row("idle connection with a stream", found, "bytes; CPU us to accept")
    verdict("bytes, to 5 KiB", found["wire"] / IDLE_BYTES, 1.0)


def main() -> None:
    """Measure, or serve for the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten, and rougher")
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(serve(arguments.serve))
    else:
        started = time.monotonic()
        uvloop.run(run(quick=arguments.quick))
        print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
