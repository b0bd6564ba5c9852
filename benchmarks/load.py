"""A load generator, in a process of its own: `python -m benchmarks.load`.

Reads one JSON object per line and answers each with one. The first is the plan (see `Plan`), the others name
what to do (`do`); it ends at the end of its input. It counts bytes and fields and parses next to nothing:
what it costs is part of every answer (`cpu_seconds` of `seconds`).
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import time
from typing import Any, TypeVar

import msgspec
import uvloop
from benchmarks import closed, paced
from benchmarks.client_ids import client_ids
from benchmarks.clients import ROUND_LIMIT_SECONDS, Caller, Counter, Failed, Plan, Stream
from benchmarks.reader import Reader
from benchmarks.wire import WireError

C = TypeVar("C")

CONNECTING_AT_ONCE = 50
CONNECT_LIMIT_SECONDS = 60.0


KINDS: dict[str, type[Stream] | type[Caller]] = {"stream": Stream, "reader": Reader, "unary": Caller}


class Load:
    """The generator itself: opens what the plan names and runs rounds."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._counter = Counter()
        self._clients: list[Stream | Caller] = []
        self._ids = client_ids(os.urandom(8))

    async def open(self, up_to: int) -> None:
        """Open the clients of the plan up to this many."""
        kind = KINDS[self._plan.kind]
        fresh = [kind(device, self._counter) for device in self._plan.devices[len(self._clients) : up_to]]
        free = asyncio.Semaphore(CONNECTING_AT_ONCE)

        async def open_one(client: Stream | Caller) -> None:
            async with free:
                await client.open(self._plan.address)

        async with asyncio.timeout(CONNECT_LIMIT_SECONDS):
            await asyncio.gather(*map(open_one, fresh))
        self._clients += fresh
        gc.collect()
        gc.freeze()

    async def run(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order. Raises Failed or WireError."""
        counter = self._counter
        counter.events = counter.frames = counter.size_bytes = 0
        if self._counter.failure is not None:
            raise self._counter.failure
        started, cpu = time.perf_counter(), time.process_time()
        async with asyncio.timeout(order.pop("limit_seconds", ROUND_LIMIT_SECONDS)):
            answer = await self._carry_out(order)
        return {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
            "events": counter.events,
            "frames": counter.frames,
            "bytes": counter.size_bytes,
            **answer,
        }

    async def _carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        counter, ids, text = self._counter, self._ids, self._plan.text
        match order.pop("do"):
            case "open":
                await self.open(order["up_to"])
                return {}
            case "send":
                streams = self._all(Stream)[: order.pop("senders")]
                return await closed.send(streams, counter, ids, text=text, **order)
            case "call":
                return await closed.call(self._all(Caller), counter, closed.send_message(text, ids), **order)
            case "history":
                pages = closed.list_messages(order.pop("page_size"))
                return await closed.call(self._all(Caller), counter, pages, **order)
            case "idle":
                return await closed.idle(self._all(Stream), counter, **order)
            case "paced":
                named = self._all(Reader)
                senders = [named[index] for index in order.pop("senders")]
                readers = [named[index] for index in order.pop("readers")]
                return await paced.send(senders, readers, counter, ids, **order)
            case "stall_one":
                *senders, reader = self._all(Reader)
                return await paced.stall_one(senders, reader, counter, ids, text=text, **order)
            case "stall":
                return await paced.stall(self._all(Reader))
            case "resume":
                return await paced.resume(self._all(Reader), counter, order["heads"])
            case "read":
                return await paced.read(self._all(Reader), counter, order["heads"])
            case other:
                raise Failed(f"unknown order {other}")

    def _all(self, kind: type[C]) -> list[C]:
        return [client for client in self._clients if isinstance(client, kind)]

    def close(self) -> None:
        """Drop all connections."""
        for client in self._clients:
            client.close()


async def main() -> None:
    """Serve orders until the input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    load = Load(msgspec.json.decode(await reader.readline(), type=Plan))
    try:
        while line := await reader.readline():
            try:
                answer = await load.run(json.loads(line))
            except TimeoutError:
                answer = {"failed": "the round did not end in time: an answer or an event is missing"}
            except (Failed, WireError, OSError) as error:
                answer = {"failed": f"{type(error).__name__}: {error}"}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        load.close()


if __name__ == "__main__":
    # Ctrl-C is for the one who gives the orders; this process ends with its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
