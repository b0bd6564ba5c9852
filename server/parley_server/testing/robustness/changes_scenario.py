"""One run with changes: writers change messages, rulers change groups, the node is killed, networks break;
some devices are there all the time and others hardly ever. In the end all must show the same.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING

from parley_server.testing.fault_proxy import FaultProxy
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.raw_client import RawClient
from parley_server.testing.robustness import faults
from parley_server.testing.robustness.changes_cast import STAYERS, ChangesCast, gather_changes_cast
from parley_server.testing.robustness.changes_device import AWAY, ONLINE, SLOW, ChangesDevice
from parley_server.testing.robustness.changes_history import ChangesHistory, Witness
from parley_server.testing.robustness.changes_readback import ServedReader, read_folder
from parley_server.testing.robustness.changing import Board, Changer
from parley_server.testing.robustness.device_scenario import DEVICE_NODE_SETTINGS, ends_of
from parley_server.testing.robustness.farewell import Farewell
from parley_server.testing.robustness.governing import Governor
from parley_server.testing.robustness.history import History
from parley_server.testing.robustness.line import Line
from parley_server.testing.robustness.networks import bad_networks
from parley_server.testing.robustness.readback import read_back
from parley_server.testing.robustness.recorder import Recorder
from parley_server.testing.robustness.scenario import Plan, Run, Stalled, kills_and_pauses
from parley_server.testing.robustness.tasks import Tasks, wait_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from parley_server.testing.raw_client import Person
    from parley_server.testing.robustness.device import Habits

NETWORKS = 3
# The shares of the changes after which one channel is deleted, and one account.
ENDS_AFTER = 0.4
LEAVES_AFTER = 0.6
# Online and away, by what each user has of them; each reads what it lacks by events or by messages.
_DEVICES: tuple[tuple[Habits, bool], ...] = ((ONLINE, True), (AWAY, False), (SLOW, True))


async def run_changes_scenario(plan: Plan, data: Path, plants: tuple[Path, ...] = ()) -> ChangesHistory:
    """Start a node over `data` with the plants and run the plan; kill the node at rest, wait until the
    devices have everything, read everything back, end the node, and read its folder.

    The plan's `acknowledged` counts changes. Raises NodeFailed when the node does not start, and
    grpc.aio.AioRpcError when it does not answer at the end.
    """
    node = NodeProcess(data, DEVICE_NODE_SETTINGS, plants)
    history = ChangesHistory(base=History(seed=plan.seed))
    try:
        await node.start()
        async with RawClient(node.address) as client:
            cast = await gather_changes_cast(client, len(_DEVICES))
        history.base.members = cast.stayers.members
        run = Run(plan, node, Recorder(history.base), Random(f"{plan.seed} faults"))
        async with AsyncExitStack() as stack:
            proxies = [await stack.enter_async_context(FaultProxy(node.address)) for _ in range(NETWORKS)]
            await _live_through(run, cast, proxies, history)
        await node.stop()
        await read_folder(data, cast, history)
        return history
    finally:
        await node.close()


async def _live_through(
    run: Run, cast: ChangesCast, proxies: Sequence[FaultProxy], history: ChangesHistory
) -> None:
    witness = Witness(history)
    devices = _devices(run, cast, proxies, witness)
    living = Tasks([device.run() for _, device in devices])
    try:
        await asyncio.gather(*(device.live() for _, device in devices))
        await _traffic(run, cast, proxies, history)
        await faults.kill_at_rest(run.node, run.recorder)
        for proxy in proxies:
            proxy.heal()
        for _, device in devices:
            device.stay()
        await wait_for(_come_to_rest(run, cast, devices), run.plan.drain_seconds)
        for _, device in devices:
            history.ended += device.ended()
        async with RawClient(run.node.address) as client:
            random = Random(f"{run.plan.seed} reads")
            await ServedReader(client, run.recorder, witness, history, random).read(cast)
    finally:
        await living.cancel()


def _devices(
    run: Run, cast: ChangesCast, proxies: Sequence[FaultProxy], witness: Witness
) -> list[tuple[Person, ChangesDevice]]:
    devices: list[tuple[Person, ChangesDevice]] = []
    for user, persons in zip(cast.users, cast.devices, strict=True):
        for number, (person, (habits, by_events)) in enumerate(zip(persons, _DEVICES, strict=True)):
            name = f"{user.username}/{number}"
            random = Random(f"{run.plan.seed} device {name}")
            line = Line(proxies[len(devices) % len(proxies)].address, Random(random.random()))
            device = ChangesDevice(
                name, line, person, run.recorder, random, habits, witness, by_events=by_events
            )
            devices.append((user, device))
    return devices


async def _come_to_rest(run: Run, cast: ChangesCast, devices: Sequence[tuple[Person, ChangesDevice]]) -> None:
    """Return when all devices have everything, and have been away once more, when nothing was missed."""
    logs = History()
    async with RawClient(run.node.address) as client:
        await read_back(client, cast.stayers, logs)
    ends = ends_of(logs)

    async def rest(user: Person, device: ChangesDevice) -> None:
        await device.has(ends.get(user.user_id, {}), {})
        await device.come_again()
        await device.loaded()
        device.finish()

    await asyncio.gather(*(rest(user, device) for user, device in devices))


async def _after(run: Run, share: float, act: Callable[[], Awaitable[None]]) -> None:
    """Do it after this share of the changes."""
    await run.recorder.until(lambda: run.recorder.acknowledged >= run.plan.acknowledged * share)
    await act()


async def _traffic(
    run: Run, cast: ChangesCast, proxies: Sequence[FaultProxy], history: ChangesHistory
) -> None:
    """Writers, rulers and bad networks until the kills are over and enough was acknowledged."""
    plan, recorder, address = run.plan, run.recorder, run.node.address

    def line(name: str) -> Line:
        return Line(address, Random(f"{plan.seed} line {name}"))

    board = Board()
    changers = [
        Changer(
            person,
            [*cast.channels_of(person), cast.doomed],
            line(person.username),
            board,
            recorder,
            history,
            Random(f"{plan.seed} changer {person.username}"),
            call_seconds=plan.call_seconds,
        )
        for person in (*cast.users, cast.leaver)
    ]
    governor = Governor(
        cast, line("governor"), history, Random(f"{plan.seed} governor"), call_seconds=plan.call_seconds
    )
    writing = Tasks([changer.run() for changer in changers])
    farewell = Farewell(cast.leaver, line("farewell"), changers[-1], history, call_seconds=plan.call_seconds)
    trouble = Tasks(
        [governor.run(), bad_networks(proxies, recorder, Random(f"{plan.seed} networks"))],
    )
    ends = Tasks([_after(run, ENDS_AFTER, governor.end_channel), _after(run, LEAVES_AFTER, farewell.take)])
    try:
        try:
            await kills_and_pauses(run)
            await run.until_acknowledged(plan.acknowledged)
        except Stalled:
            pass
        for changer in changers:
            changer.stop()
        await writing.ended(plan.drain_seconds)
        await ends.ended(plan.drain_seconds)
        await trouble.cancel()
        await wait_for(governor.settle(), plan.drain_seconds)
        # What a kill takes is the newest: with this it is what became of a message.
        await wait_for(changers[STAYERS - 1].last_words(cast.groups[0]), plan.drain_seconds)
    finally:
        await writing.cancel()
        await trouble.cancel()
        await ends.cancel()
        await governor.close()
        await farewell.close()
