"""One run with devices: senders write, people come and go, devices live through all of it, everything is read
back, and the devices that stay must end with everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Protocol

from parley.chat.v1 import message_requests_pb2
from parley_server.testing.fault_proxy import FaultProxy
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import Person, RawClient
from parley_server.testing.robustness import faults
from parley_server.testing.robustness.device import BookDevice, Habits
from parley_server.testing.robustness.device_cast import SENDERS, DeviceCast, gather_device_cast
from parley_server.testing.robustness.history import History, Outcome
from parley_server.testing.robustness.line import Line
from parley_server.testing.robustness.model import logs_of, shares_of
from parley_server.testing.robustness.moving import Mover
from parley_server.testing.robustness.networks import bad_networks
from parley_server.testing.robustness.readback import read_back
from parley_server.testing.robustness.recorder import Recorder
from parley_server.testing.robustness.scenario import (
    NODE_SETTINGS,
    Plan,
    Run,
    Stalled,
    kills_and_pauses,
)
from parley_server.testing.robustness.sending import Sender, UnaryWay
from parley_server.testing.robustness.tasks import Tasks, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


NETWORKS = 5
# Small bounds, so that a short run meets lags, digests and signs of life.
DEVICE_NODE_SETTINGS = {
    **NODE_SETTINGS,
    "sessions.heartbeat_seconds": 1.0,
    "limits.outbox_events": 32,
    "limits.outbox_bytes": 32 * 1024,
    "limits.frame_bytes": 16 * 1024,
    "limits.replay_events": 200,
}
# Enough bytes that a device that stops reading for a second lags.
LONG_ONE_IN = 15
MOVES_AFTER_ACKNOWLEDGED = 30


class LivingDevice(Protocol):
    """A device of a run, by the book or by another kind of client. It writes down what it is given."""

    async def run(self) -> None:
        """Live until cancelled."""
        ...

    async def live(self) -> None:
        """Return when there is a stream that has caught up."""
        ...

    def stay(self) -> None:
        """Sleep no more and leave no stream."""
        ...

    async def has(self, seqs: Mapping[str, int], read: Mapping[str, int]) -> None:
        """Return when the device has these seqs, and knows these read positions, by channel."""
        ...

    async def come_again(self) -> None:
        """Leave and come back at once. Returns when the next stream has caught up."""
        ...

    def finish(self) -> None:
        """The stream that is open now should have given everything: say so in the history."""
        ...


MakeDevice = Callable[[str, str, Person, Recorder, Random], LivingDevice]
"""Makes a device from its name, the address to connect to, its log-in, the recorder and its chance."""


class Writer(Protocol):
    """Somebody who writes while a run lasts, and writes down what came of it."""

    async def run(self) -> None:
        """Write until stopped; returns when everything is answered."""
        ...

    def stop(self) -> None:
        """Begin nothing new."""
        ...


MakeWriter = Callable[[str, Person, list[str], Recorder, Random], Writer]
"""Makes a writer from the address to connect to, its log-in, its channels, the recorder and its chance."""


def _by_the_book(
    habits: Habits, name: str, address: str, person: Person, recorder: Recorder, random: Random
) -> LivingDevice:
    return BookDevice(name, Line(address, Random(random.random())), person, recorder, random, habits)


async def run_device_scenario(
    plan: Plan,
    data: Path,
    plants: tuple[Path, ...] = (),
    habits: Habits | None = None,
    make: MakeDevice | None = None,
    write: MakeWriter | None = None,
) -> History:
    """Start a node over `data` with the plants, run the plan with 5 senders and 20 devices, kill the node at
    rest, wait until the devices have everything, read it back, end the node.

    The devices are those by the book, with these habits, unless `make` makes others. Beside the senders, who
    reach the node directly, each of their users has a writer made by `write`, if given, over a bad network.

    The plan's `drain_seconds` is also how long the devices may take in the end. Raises NodeFailed when the
    node does not start, and grpc.aio.AioRpcError when it does not answer at the end.
    """
    node = NodeProcess(data, DEVICE_NODE_SETTINGS, plants)
    try:
        await node.start()
        history = History(seed=plan.seed)
        async with RawClient(node.address) as client:
            cast = await gather_device_cast(client)
        history.members = cast.stayers.members
        run = Run(plan, node, Recorder(history), Random(f"{plan.seed} faults"))
        async with AsyncExitStack() as stack:
            proxies = [await stack.enter_async_context(FaultProxy(node.address)) for _ in range(NETWORKS)]
            book = partial(_by_the_book, habits or Habits())
            await _live_through(run, cast, proxies, make or book, write)
        return history
    finally:
        await node.close()


async def _live_through(
    run: Run, cast: DeviceCast, proxies: Sequence[FaultProxy], make: MakeDevice, write: MakeWriter | None
) -> None:
    seed, plan, recorder = run.plan.seed, run.plan, run.recorder
    devices: list[tuple[Person, LivingDevice]] = []
    for user, persons in zip(cast.users, cast.devices, strict=True):
        for number, person in enumerate(persons):
            name = f"{user.username}/{number}"
            proxy = proxies[len(devices) % len(proxies)]
            random = Random(f"{seed} device {name}")
            devices.append((user, make(name, proxy.address, person, recorder, random)))
    living = Tasks([device.run() for _, device in devices])
    try:
        await asyncio.gather(*(device.live() for _, device in devices))
        await _traffic(run, cast, proxies, write)
        await faults.kill_at_rest(run.node, recorder)
        for proxy in proxies:
            proxy.heal()
        for _, device in devices:
            device.stay()
        await wait_for(_come_to_rest(run, cast, devices), plan.drain_seconds)
        async with RawClient(run.node.address) as client:
            await read_back(client, cast.stayers, recorder.history)
    finally:
        await living.cancel()


async def _come_to_rest(run: Run, cast: DeviceCast, devices: Sequence[tuple[Person, LivingDevice]]) -> None:
    """Return when all devices have everything, read positions of after the last kill among it, and have been
    away once more, when nothing was missed and their cursors must say so.
    """
    recorder, logs = run.recorder, History()
    async with RawClient(run.node.address) as client:
        await read_back(client, cast.stayers, logs)
        ends = ends_of(logs)
        await asyncio.gather(*(device.has(ends.get(user.user_id, {}), {}) for user, device in devices))
        for user in cast.users:
            for channel_id, seq in ends.get(user.user_id, {}).items():
                mark = recorder.mark(user.user_id, channel_id, seq)
                request = message_requests_pb2.MarkReadRequest(channel_id=channel_id, seq=seq)
                answer = await client.chat.MarkRead(request, metadata=user.metadata)
                recorder.marked(mark, Outcome.OK, read_seq=answer.read_seq)

    async def rest(device: LivingDevice, seqs: Mapping[str, int], read: Mapping[str, int]) -> None:
        await device.has(seqs, read)
        await device.come_again()
        device.finish()

    read = read_of(recorder.history, ends)
    await asyncio.gather(
        *(rest(device, ends.get(user.user_id, {}), read.get(user.user_id, {})) for user, device in devices)
    )


async def _traffic(
    run: Run, cast: DeviceCast, proxies: Sequence[FaultProxy], write: MakeWriter | None
) -> None:
    """Senders, movers and bad networks until the kills are over and enough was acknowledged."""
    plan, recorder, address = run.plan, run.recorder, run.node.address

    def line(name: str) -> Line:
        return Line(address, Random(f"{plan.seed} line {name}"))

    lines = [line(person.username) for person in cast.users[:SENDERS]]
    senders: list[Writer] = [
        Sender(
            person,
            cast.channels_of(person),
            UnaryWay(own, person, plan.call_seconds),
            recorder,
            Random(f"{plan.seed} sender {person.username}"),
            long_one_in=LONG_ONE_IN,
        )
        for person, own in zip(cast.users, lines, strict=False)
    ]
    if write is not None:
        senders += [
            write(
                proxy.address,
                person,
                cast.channels_of(person),
                recorder,
                Random(f"{plan.seed} writer {person.username}"),
            )
            for person, proxy in zip(cast.users[:SENDERS], proxies, strict=True)
        ]
    mover = Mover(line("mover"), cast.roamers, Random(f"{plan.seed} mover"), call_seconds=plan.call_seconds)
    writing = Tasks([sender.run() for sender in senders])
    trouble = Tasks([_moving(run, mover), bad_networks(proxies, recorder, Random(f"{plan.seed} networks"))])
    try:
        try:
            await kills_and_pauses(run)
            await run.until_acknowledged(plan.acknowledged)
        except Stalled:
            pass
        for sender in senders:
            sender.stop()
        await writing.ended(plan.drain_seconds)
    finally:
        await writing.cancel()
        await trouble.cancel()
        for own in lines:
            await own.close()


async def _moving(run: Run, mover: Mover) -> None:
    # Who is added to a channel without messages sees it from its making: here everybody joins later.
    await run.recorder.until(lambda: run.recorder.acknowledged >= MOVES_AFTER_ACKNOWLEDGED)
    await mover.run()


def ends_of(history: History) -> dict[str, dict[str, int]]:
    """By user and channel the last seq of the user's stream, where the user is a member at the end."""
    ends: dict[str, dict[str, int]] = {}
    for channel_id, log in logs_of(history).items():
        for user_id, share in shares_of(log).items():
            if share.is_open:
                ends.setdefault(user_id, {})[channel_id] = share.seqs[-1]
    return ends


def read_of(history: History, ends: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """By user and channel the furthest read position that was acknowledged, where there is an end."""
    read: dict[str, dict[str, int]] = {}
    for mark in history.marks:
        if mark.outcome is Outcome.OK and mark.channel_id in ends.get(mark.user_id, {}):
            of_user = read.setdefault(mark.user_id, {})
            of_user[mark.channel_id] = max(mark.read_seq, of_user.get(mark.channel_id, 0))
    return read
