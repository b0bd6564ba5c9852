"""Scenario c: what an idle session costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.clients import Plan
from benchmarks.figures import Case, Figure, Scenario, Target
from benchmarks.machine import require_files
from benchmarks.parties import Generator, Node
from benchmarks.prepared import prepared_folder, user_ids

from parley_runtime.settings import Sessions

if TYPE_CHECKING:
    from benchmarks.clients import Device
    from benchmarks.parties import Round
    from benchmarks.scale import Bench

LETTER = "c"
TITLE = "Idle sessions: memory and CPU"
HEARTBEAT_SECONDS = Sessions().heartbeat_seconds
HEARTBEATS_FASTER = 10
SETTING = (
    "Every session has a connection, a device and a Connect stream of its own; ten devices share a user, who "
    "is in one direct channel. Each round is a new node. Memory of a session is what the node grew by while "
    "they were opened, the first tenth excepted, so that what a node allocates once is not counted; that of "
    f"the node is everything. CPU: first nobody says anything, then every session sends {HEARTBEATS_FASTER} "
    f"heartbeats per {HEARTBEAT_SECONDS:g} s, evenly spread, which is {HEARTBEATS_FASTER} times the default, "
    f"so that it shows; the difference is divided by {HEARTBEATS_FASTER} and added to the silent part. "
    "RSS and PSS do not count the kernel's memory for sockets."
)
DEVICES_PER_USER = 10
SESSION_KIB = 10.0
# Of fewer, what the node allocates meanwhile for itself says more than what they need.
FEWEST_SESSIONS = 1000
TARGET_SESSIONS, TARGET_NODE_MIB = 10_000, 150.0


async def measure(bench: Bench) -> Scenario:
    """Measure each number of sessions on new nodes."""
    scale = bench.scale
    most = max(scale.idle_sessions)
    require_files(most)
    users = user_ids(-(-most // DEVICES_PER_USER) + 1)
    async with prepared_folder(bench.folder / "idle") as folder:
        await folder.direct_channels(list(zip(users[::2], users[1::2], strict=False)))
        devices = [folder.device(users[index // DEVICES_PER_USER], index) for index in range(most)]
    cases = [await _case(bench, sessions, devices) for sessions in scale.idle_sessions]
    targets = [
        Target.of(f"{case.name}, memory of each", "at most", SESSION_KIB, case.figure("RSS per session"))
        for sessions, case in zip(scale.idle_sessions, cases, strict=True)
        if sessions >= FEWEST_SESSIONS
    ] + [
        Target.of(
            f"{case.name}, memory of the node", "at most", TARGET_NODE_MIB, case.figure("RSS of the node")
        )
        for sessions, case in zip(scale.idle_sessions, cases, strict=True)
        if sessions == TARGET_SESSIONS
    ]
    return Scenario(LETTER, TITLE, SETTING, cases, targets)


async def _case(bench: Bench, sessions: int, devices: list[Device]) -> Case:
    rss, pss, whole, connect_cpu, idle_cpu = [], [], [], [], []
    rounds: list[Round] = []
    first = sessions // 10
    for number in range(bench.scale.idle_rounds):
        bench.say(f"c: {sessions} sessions, node {number + 1} of {bench.scale.idle_rounds}")
        async with Node(bench.folder / "idle", bench.cores) as node:
            plan = Plan(node.address, "stream", devices[:sessions])
            async with Generator(plan, node, bench.cores, open_at_once=first) as generator:
                before = node.memory
                opened = await generator.run(do="open", up_to=sessions)
                after = node.memory
                seconds = bench.scale.idle_seconds
                await generator.run(do="idle", seconds=seconds / 4, heartbeats_per_second=0)
                silent = await generator.run(do="idle", seconds=seconds, heartbeats_per_second=0)
                rate = sessions / HEARTBEAT_SECONDS * HEARTBEATS_FASTER
                beating = await generator.run(do="idle", seconds=seconds, heartbeats_per_second=rate)
        rss.append((after.rss - before.rss) / (sessions - first) / 1024)
        pss.append((after.pss - before.pss) / (sessions - first) / 1024)
        whole.append(after.rss / 2**20)
        connect_cpu.append(opened.node_cpu_seconds / (sessions - first) * 1e6)
        idle_cpu.append(_idle_share(silent, beating) / sessions * 1e6)
        rounds.append(beating)
    figures = [
        Figure.of("RSS per session", "KiB", rss),
        Figure.of("PSS per session", "KiB", pss),
        Figure.of("RSS of the node", "MiB", whole),
        Figure.of("CPU per session", "µs/s", idle_cpu),
        Figure.of("CPU to open a session", "µs", connect_cpu),
    ]
    return Case.of(f"{sessions} sessions", figures, rounds)


def _idle_share(silent: Round, beating: Round) -> float:
    """The node's CPU share with heartbeats at the default interval."""
    return silent.node_cpu_share + (beating.node_cpu_share - silent.node_cpu_share) / HEARTBEATS_FASTER
