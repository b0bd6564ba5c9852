"""One server in a process of its own: orders on standard input, an answer for each on standard output."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import signal
import sys
from typing import Any

import uvloop
from benchmarks.transports.crowd import Crowd
from benchmarks.transports.event import events
from benchmarks.transports.kind import GRPCIO, GRPCIO_SEAM, GRPCLIB, TCP, WEBSOCKETS, WIRE

SERVERS = {
    TCP.name: ("bare_tcp", "start"),
    WIRE.name: ("seam", "start_wire"),
    GRPCIO_SEAM.name: ("seam", "start_grpcio"),
    GRPCIO.name: ("grpcio", "start"),
    GRPCLIB.name: ("grpclib", "start"),
    WEBSOCKETS.name: ("websocket", "start"),
}


class Publisher:
    """Numbers events and publishes them to the crowd."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._number = 0
        self.group = 0

    def publish(self, count: int, group: int, due: int = 0) -> None:
        """The next message, of `count` events, to the next `group` members."""
        self._number += 1
        self._crowd.publish(events(self._number, count, due), group)

    async def fan_out(self, ticks: int, count: int) -> None:
        """So many messages to everybody, each as soon as all have taken the one before."""
        self._crowd.line_up()
        everybody = len(self._crowd)
        for _ in range(ticks):
            self.publish(count, everybody)
            await self._crowd.rest()


class Trigger(asyncio.Protocol):
    """The load generator says when an event is due, in eight bytes; it is published with that time."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) - len(data) % 8
        for at in range(0, whole, 8):
            self._publisher.publish(1, self._publisher.group, int.from_bytes(data[at : at + 8], "big"))
        self._rest = data[whole:]


async def obey(order: dict[str, Any], crowd: Crowd, publisher: Publisher) -> None:
    """Carry out one order."""
    if order["do"] == "fan out":
        await publisher.fan_out(order["ticks"], order["events"])
    elif order["do"] == "group":
        crowd.line_up()
        publisher.group = order["size"]


async def main(name: str) -> None:
    """Serve until the input ends."""
    logging.basicConfig(level=logging.ERROR)
    module, start = SERVERS[name]
    server = importlib.import_module(f"benchmarks.transports.servers.{module}")
    crowd: Crowd = server.BroadcastCrowd() if name == WEBSOCKETS.name else Crowd()
    publisher = Publisher(crowd)
    # A grpc.aio server that nobody holds stops.
    port, _serving = await getattr(server, start)(crowd)
    loop = asyncio.get_running_loop()
    triggered = await loop.create_server(lambda: Trigger(publisher), "127.0.0.1", 0)
    print(json.dumps({"port": port, "trigger_port": triggered.sockets[0].getsockname()[1]}), flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await obey(json.loads(line), crowd, publisher)
        print(json.dumps({"streams": len(crowd)}), flush=True)


if __name__ == "__main__":
    # Ctrl-C is for the one who gives the orders; this process ends with its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # As a node does; which threshold a node has is said by the one who starts this.
    gc.set_threshold(int(sys.argv[2]), 20, 100)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
