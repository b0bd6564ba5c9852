"""One run: traffic and faults against a real node, then everything read back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import RawClient
from parley_server.testing.robustness import faults
from parley_server.testing.robustness.cast import Cast, gather_cast
from parley_server.testing.robustness.history import History, Outcome
from parley_server.testing.robustness.line import Line
from parley_server.testing.robustness.probing import Prober
from parley_server.testing.robustness.readback import read_back
from parley_server.testing.robustness.recorder import Recorder
from parley_server.testing.robustness.sending import Sender, StreamWay, UnaryWay, Way
from parley_server.testing.robustness.tasks import Tasks, wait_for
from parley_server.testing.robustness.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

KILL_TRIES = 3
# A run may last longer than tokens and leases do by default.
NODE_SETTINGS = {
    "auth.access_token_seconds": 24 * 3600,
    "sessions.lease_seconds": 3600,
    "sessions.background_lease_seconds": 3600,
    "stop_grace_seconds": 0.5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run. `acknowledged` messages are the least that the traffic writes; the kills are spread over them.

    Each call is given up after `call_seconds` and repeated. Without any acknowledgement for `stall_seconds`
    while the node serves, the run goes on to its end; what is not answered then within `drain_seconds` is
    given up, which is a finding.
    """

    seed: int
    senders: int = 8
    kills: int = 10
    acknowledged: int = 5_000
    pauses: int = 0
    pause_seconds: float = 3.0
    call_seconds: float = 5.0
    stall_seconds: float = 20.0
    drain_seconds: float = 20.0


class Stalled(Exception):
    """Nothing is acknowledged any more."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run under way: what faults may work with."""

    plan: Plan
    node: NodeProcess
    recorder: Recorder
    random: Random

    async def until_acknowledged(self, count: int) -> None:
        """Return once `count` messages were acknowledged. Raises Stalled."""
        while self.recorder.acknowledged < count:
            before = self.recorder.acknowledged
            try:
                async with asyncio.timeout(self.plan.stall_seconds):
                    await self.recorder.until(lambda: self.recorder.acknowledged >= count)
            except TimeoutError:
                if self.recorder.acknowledged == before:
                    raise Stalled from None


async def kills_and_pauses(run: Run) -> None:
    """The plan's faults, in an order and at moments made by chance."""
    plan = run.plan
    todo = [faults.KILL] * plan.kills + [faults.PAUSE] * plan.pauses
    run.random.shuffle(todo)
    share = plan.acknowledged / max(len(todo), 1)
    for number, kind in enumerate(todo):
        if run.random.random() < 0.25:
            # Soon after the fault before, while channels are being activated.
            count = run.recorder.acknowledged + run.random.randint(1, 10)
        else:
            count = int(share * (number + run.random.random()))
        await run.until_acknowledged(count)
        await asyncio.sleep(faults.jitter(run.random))
        if kind == faults.PAUSE:
            await faults.pause(run.node, run.recorder, plan.pause_seconds)
        else:
            await _kill_for_certain(run)


async def _kill_for_certain(run: Run) -> None:
    """Kill so that a send is left without an answer: a reply may have been on its way already."""
    for _ in range(KILL_TRIES):
        fault = await faults.kill(run.node, run.recorder)
        if await _landed(run, fault.in_flight):
            return


async def _landed(run: Run, in_flight: list[int]) -> bool:
    """Whether any of these attempts ended without an answer, once all have ended."""
    sends = run.recorder.history.sends
    await run.recorder.until(lambda: all(sends[number].end_ns is not None for number in in_flight))
    return any(sends[number].outcome is Outcome.UNKNOWN for number in in_flight)


async def run_scenario(
    plan: Plan,
    data: Path,
    plants: tuple[Path, ...] = (),
    trouble: Callable[[Run], Awaitable[None]] = kills_and_pauses,
    settings: dict[str, object] | None = None,
) -> History:
    """Start a node over `data` with the plants, run the plan, read everything back, end the node.

    `trouble` does the harm; it is called once the traffic runs. Raises NodeFailed when the node does not
    start, and grpc.aio.AioRpcError when it does not answer at the end.
    """
    node = NodeProcess(data, {**NODE_SETTINGS, **(settings or {})}, plants)
    try:
        await node.start()
        history = History(seed=plan.seed)
        async with RawClient(node.address) as client:
            cast = await gather_cast(client, plan.senders)
        history.members = cast.members
        run = Run(plan, node, Recorder(history), Random(f"{plan.seed} faults"))
        await _traffic(run, cast, trouble)
        await faults.kill_at_rest(node, run.recorder)
        async with RawClient(node.address) as client:
            await read_back(client, cast, history)
        return history
    finally:
        await node.close()


async def _traffic(run: Run, cast: Cast, trouble: Callable[[Run], Awaitable[None]]) -> None:
    """Run senders, watchers and a prober until the trouble is over and enough was acknowledged."""
    plan, recorder, address = run.plan, run.recorder, run.node.address

    def line(name: str) -> Line:
        return Line(address, Random(f"{plan.seed} line {name}"))

    watchers = [
        Watcher(line(person.username), person, way, recorder)
        for person, way in zip(cast.watchers, ("connect", "subscribe"), strict=True)
    ]
    senders: list[Sender] = []
    for number, person in enumerate(cast.senders):
        own = line(person.username)
        way: Way
        if number % 2:
            watcher = Watcher(own, person, "connect", recorder)
            watchers.append(watcher)
            way = StreamWay(own, watcher, plan.call_seconds)
        else:
            way = UnaryWay(own, person, plan.call_seconds)
        random = Random(f"{plan.seed} sender {number}")
        senders.append(Sender(person, cast.channels_of(person), way, recorder, random))
    prober = Prober(line("prober"), cast, recorder, Random(f"{plan.seed} prober"), plan.call_seconds)

    background = Tasks([prober.run(), *(watcher.run() for watcher in watchers)])
    writing = Tasks([sender.run() for sender in senders])
    try:
        try:
            await trouble(run)
            await run.until_acknowledged(plan.acknowledged)
        except Stalled:
            pass
        for sender in senders:
            sender.stop()
        await writing.ended(plan.drain_seconds)
        await writing.cancel()
        heads = _acknowledged_heads(run)
        showing = [
            watcher.seen({each: heads.get(each, 0) for each in cast.channels_of(person)})
            for person, watcher in zip((*cast.watchers, *cast.senders[1::2]), watchers, strict=True)
        ]
        await wait_for(asyncio.gather(*showing), plan.drain_seconds)
        for watcher in watchers:
            watcher.finish()
    finally:
        await writing.cancel()
        await background.cancel()


def _acknowledged_heads(run: Run) -> dict[str, int]:
    heads: dict[str, int] = {}
    for send in run.recorder.history.sends:
        if send.place is not None:
            heads[send.channel_id] = max(send.place.seq, heads.get(send.channel_id, 0))
    return heads
