"""One kind of server in a process of its own, with a load generator of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

import psutil
from benchmarks.machine import ROOT, cpu_seconds
from benchmarks.parties import GeneratorFailed, Round
from benchmarks.transports.event import EVENT_BYTES
from benchmarks.transports.generator import built_generator
from benchmarks.transports.speech import UNARY_BYTES
from benchmarks.transports.talk import Talk

from parley_server.serving import GARBAGE_THRESHOLD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from benchmarks.machine import Cores
    from benchmarks.transports.kind import Kind
    from benchmarks.transports.speech import Speech

LIMIT_SECONDS = 60.0
ANSWER_SLACK_SECONDS = 30.0
OPENED_AT_ONCE = 64


class Contestant:
    """The server is pinned to the node's core with all its threads, the generator to the other."""

    def __init__(self, kind: Kind, server: Talk, load: Talk, trigger_port: int) -> None:
        self.kind = kind
        self._server = server
        self._load = load
        self._trigger = f"127.0.0.1:{trigger_port}"
        self._streams = 0

    @staticmethod
    @contextlib.asynccontextmanager
    async def enter(
        kind: Kind, speech: Speech, cores: Cores, *, addresses: int = 0
    ) -> AsyncIterator[Contestant]:
        """Server and generator live as long as the block. Nothing is open yet. `addresses`: from how many
        the connections come; 0 for the usual one.
        """
        async with contextlib.AsyncExitStack() as ending:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            module = "benchmarks.transports.serve"
            command = (sys.executable, "-m", module, kind.name, str(GARBAGE_THRESHOLD))
            server = await Talk.begin(f"the {kind.name} server", command, cores.node, environment)
            ending.push_async_callback(server.end)
            ports = await server.answer()
            load = await Talk.begin(
                f"the load on {kind.name}", (str(built_generator()),), cores.generator, environment
            )
            ending.push_async_callback(load.end)
            await load.tell(
                address=f"127.0.0.1:{ports['port']}",
                protocol=speech.protocol,
                opening=speech.opening.hex(),
                message=speech.message.hex(),
                stamp_at=speech.stamp_at,
                first_call=speech.first_call,
                addresses=addresses,
            )
            yield Contestant(kind, server, load, ports["trigger_port"])

    @property
    def resident_bytes(self) -> int:
        """The server's memory."""
        return int(psutil.Process(self._server.pid).memory_info().rss)

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._server.pid

    async def open(self, connections: int, *, streams: bool = True) -> Round:
        """So many more, until the server has all of them; `streams`: with a stream each."""
        before = cpu_seconds(self._server.pid)
        answer = await self._load.ask(
            do="open", connections=connections, at_once=OPENED_AT_ONCE, limit_seconds=LIMIT_SECONDS
        )
        if streams:
            self._streams += connections
            await self.wait_for_streams(self._streams)
        return Round(answer, cpu_seconds(self._server.pid) - before)

    async def wait_for_streams(self, count: int) -> None:
        """Return when the server has so many open. Raises GeneratorFailed after a while."""
        for _ in range(int(LIMIT_SECONDS / 0.02)):
            found = (await self._server.ask(do="look"))["streams"]
            if found == count:
                return
            await asyncio.sleep(0.02)
        raise GeneratorFailed(f"the {self.kind.name} server has {found} streams instead of {count}")

    async def fan_out(self, ticks: int, events: int) -> Round:
        """So many messages to all streams, as fast as they are taken."""
        await self._load.ask(
            do="sink",
            messages=ticks,
            message_bytes=events * EVENT_BYTES,
            stride=1,
            limit_seconds=LIMIT_SECONDS,
        )
        before = cpu_seconds(self._server.pid)
        await self._server.ask(do="fan out", ticks=ticks, events=events)
        answer = await self._load.answer()
        return self._checked(ticks * self._streams, Round(answer, cpu_seconds(self._server.pid) - before))

    async def pace(self, group: int, per_second: float, seconds: float) -> Round:
        """Deliver so many events a second, each message to the next `group` streams in turn."""
        turns = self._streams // group
        triggers = max(1, int(per_second * seconds / group / turns)) * turns
        await self._server.ask(do="group", size=group)
        return await self._asked(
            triggers * group,
            do="pace",
            messages=triggers // turns,
            message_bytes=EVENT_BYTES,
            stride=turns,
            trigger_address=self._trigger,
            triggers=triggers,
            per_second=per_second / group,
        )

    async def echo(self, connections: int, messages: int) -> Round:
        """So many round trips in all, one in flight on each connection."""
        return await self._asked(
            messages, do="echo", connections=connections, messages=messages, message_bytes=EVENT_BYTES
        )

    async def unary(
        self, connections: int, at_once: int, calls: int, limit_seconds: float = LIMIT_SECONDS
    ) -> Round:
        """So many calls in all, `at_once` in flight on each connection."""
        return await self._asked(
            calls,
            do="unary",
            connections=connections,
            at_once=at_once,
            messages=calls,
            message_bytes=UNARY_BYTES,
            limit_seconds=limit_seconds,
        )

    async def churn(self, connections: int, at_once: int, limit_seconds: float = LIMIT_SECONDS) -> Round:
        """Open and close so many connections, `at_once` at a time, and wait until the server has let go."""
        one = await self._asked(
            connections, do="churn", connections=connections, at_once=at_once, limit_seconds=limit_seconds
        )
        await self.wait_for_streams(self._streams)
        return one

    async def _asked(self, expected: int, /, limit_seconds: float = LIMIT_SECONDS, **order: object) -> Round:
        before = cpu_seconds(self._server.pid)
        await self._load.tell(limit_seconds=limit_seconds, **order)
        answer = await self._load.answer(limit_seconds + ANSWER_SLACK_SECONDS)
        return self._checked(expected, Round(answer, cpu_seconds(self._server.pid) - before))

    def _checked(self, messages: int, one: Round) -> Round:
        """The generator has held every message against its number; here its count is held against ours."""
        if one.answer["messages"] != messages:
            raise GeneratorFailed(
                f"{self.kind.name}: {one.answer['messages']} messages came instead of {messages}"
            )
        return one


@contextlib.asynccontextmanager
async def contest(
    kinds: Iterable[Kind], speeches: dict[str, Speech], cores: Cores
) -> AsyncIterator[list[Contestant]]:
    """All kinds at a time, so that rounds can take turns; `speeches` are by the kinds' names."""
    async with contextlib.AsyncExitStack() as stack:
        entering = (
            stack.enter_async_context(Contestant.enter(kind, speeches[kind.name], cores)) for kind in kinds
        )
        # All are awaited, whatever becomes of one: what has started must end with the block.
        entered = await asyncio.gather(*entering, return_exceptions=True)
        contestants: list[Contestant] = []
        for one in entered:
            if isinstance(one, BaseException):
                raise one
            contestants.append(one)
        yield contestants
