"""Whether connections and streams that come and go leave memory where it was.

`python -m benchmarks.wire_churn --connections 100000 --streams 1000000`: connections are opened and closed in
turn over many loopback addresses, then short streams run on 100 connections. Needs h2load.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile

import uvloop
from benchmarks.wire_side_by_side import SERVICE, Load, ServerProcess, print_row, verdict

from parley_wire.testing.peer import message

WARM_UP = 20_000
AT_ONCE = 50
ADDRESSES = 200
GROWTH = 1.05


async def churn_connections(server: ServerProcess, count: int) -> None:
    """Open and close, each with one stream, `AT_ONCE` at a time, from many addresses."""
    loop = asyncio.get_running_loop()

    async def one(number: int) -> None:
        source = (f"127.0.{number // 250 % ADDRESSES}.{number % 250 + 1}", 0)
        make = lambda: Load(grpc_stream=True)  # noqa: E731
        _, load = await loop.create_connection(make, "127.0.0.1", server.port, local_addr=source)
        await asyncio.sleep(0.002)
        load.transport.abort()

    for first in range(0, count, AT_ONCE):
        await asyncio.gather(*(one(number) for number in range(first, min(first + AT_ONCE, count))))
    while (await server.ask(do="look"))["streams"]:  # noqa: ASYNC110  # polls a process
        await asyncio.sleep(0.1)


async def churn_streams(server: ServerProcess, count: int) -> None:
    """Unary calls by h2load: 100 connections with ten streams each at a time."""
    program = shutil.which("h2load")
    if program is None:
        sys.exit("h2load is not installed (Debian: nghttp2-client)")
    with tempfile.NamedTemporaryFile() as body:
        body.write(message(b"x" * 100))
        body.flush()
        command = [program, "-n", str(count), "-c", "100", "-m", "10", "-d", body.name]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        command.append(f"http://127.0.0.1:{server.port}/{SERVICE}/Unary")
        output = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    if f"{count} succeeded" not in output.stdout:
        sys.exit(f"calls failed:\n{output.stdout}")


async def run(connections: int, streams: int) -> None:
    server = ServerProcess("wire", None)
    await churn_connections(server, WARM_UP)
    await churn_streams(server, WARM_UP)
    before = (await server.ask(do="look"))["resident"]
    await churn_connections(server, connections)
    between = (await server.ask(do="look"))["resident"]
    await churn_streams(server, streams)
    after = (await server.ask(do="look"))["resident"]
    server.close()
    found = {"before": before / 1e6, "connections": between / 1e6, "streams": after / 1e6}
    print_row(f"{connections} connections, {streams} streams", found, "MB resident")
    verdict("growth", after / before, GROWTH)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--streams", type=int, default=1_000_000)
    arguments = parser.parse_args()
    uvloop.run(run(arguments.connections, arguments.streams))


if __name__ == "__main__":
    main()
