"""Whether a crowd of readers that take nothing slows a healthy one: the crowd reads and stalls in turns."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from benchmarks.clients import Plan
from benchmarks.figures import Case, Figure, Target
from benchmarks.machine import ROOT, on_cores, require_files
from benchmarks.parties import Generator, GeneratorFailed, Node, Round
from benchmarks.prepared import message_text, prepared_folder, user_ids
from benchmarks.watch import METRICS_SETTINGS, look

from parley_runtime.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.clients import Device
    from benchmarks.scale import Bench

SENDERS = 4
FILLING_TEXT_BYTES = 12_000
TRANSPORT_BYTES = 64 * 1024
"""What gRPC takes for a stream before a write has to wait (its `write_buffer_size`)."""
CATCH_UP_LIMIT_SECONDS = 120.0
SESSION_LIMIT_SECONDS = 120.0
TARGET_RATIO = 1.5
NODE_SETTINGS: dict[str, object] = {**METRICS_SETTINGS, "sessions.slow_reader_seconds": 3600.0}
SETTING = (
    f"A crowd: {SENDERS} senders write to a group at a given rate, in turns, far below what the node can "
    "do. The group's healthy readers are some of its members with a device each; times are from sending "
    "to when their event was read, over all of them. The crowd are the devices of the other members, the "
    "same ones in all rounds: they read, or they take nothing at all and lag. Alone are as many senders "
    "and readers in a group of their own, while the crowd idles. Rounds take turns, and reading and "
    "stalling change places from one to the next. Before the crowd's first stalled round larger messages "
    "bring it to lag (falling behind), which the node's own count must confirm; after the last every "
    "device reads again, and each must get all it missed, once and in order. A stalled reader is "
    "disconnected after an hour here, not after 300 s. Memory is the node's growth since before the first "
    "stall, with what gRPC holds, divided by the devices; without transport it is what Python holds for a "
    "session of `benchmarks/session.py`."
)
RATIOS = ("delivery p50", "delivery p99", "ack p50", "node CPU per message")


async def measure(bench: Bench) -> tuple[list[Case], list[Target]]:
    """Measure a reader alone, among healthy ones, and among stalled ones, in turns."""
    scale = bench.scale
    crowd_size = scale.crowd_members * scale.crowd_devices_each
    few = SENDERS + scale.crowd_probes
    require_files(crowd_size + 2 * few)
    users = user_ids(scale.crowd_members + 2 * few)
    lone_users, group_users = users[:few], users[few:]
    async with prepared_folder(bench.folder / "crowd") as folder:
        group, lone = await folder.group(group_users), await folder.group(lone_users)
        # In this order: the senders of the group, its healthy readers, the lone senders, their readers.
        loading = [folder.device(user_id, 0, group) for user_id in group_users[:few]]
        loading += [folder.device(user_id, 0, lone) for user_id in lone_users]
        crowd = [
            folder.device(user_id, number, group)
            for number in range(scale.crowd_devices_each)
            for user_id in group_users[-scale.crowd_members :]
        ]
    async with Node(bench.folder / "crowd", bench.cores, NODE_SETTINGS) as node:
        plans = [Plan(node.address, "reader", devices) for devices in (loading, crowd)]
        async with (
            Generator(plans[0], node, bench.cores) as load,
            Generator(plans[1], node, bench.cores) as others,
        ):
            course = _Course(bench, node, load, others, loading, crowd)
            await course.run()
    return course.cases(await _without_transport(bench, crowd_size)), course.targets


class _Course:
    """The rounds of one run, and what came of them."""

    def __init__(
        self,
        bench: Bench,
        node: Node,
        load: Generator,
        others: Generator,
        loading: Sequence[Device],
        crowd: Sequence[Device],
    ) -> None:
        self._bench = bench
        self._node = node
        self._load = load
        self._others = others
        self._text = message_text(loading[0].channel_id)
        self._crowd = len(crowd)
        half = len(loading) // 2
        self._readers = half - SENDERS
        indexes = list(range(len(loading)))
        self._group, self._lone = (
            {"senders": some[:SENDERS], "readers": some[SENDERS:]}
            for some in (indexes[:half], indexes[half:])
        )
        self._heads: dict[str, int] = {}
        self._stalled = False
        self._rss_before = 0
        self._alone: list[Round] = []
        self._among: dict[bool, list[Round]] = {False: [], True: []}
        self._falling: list[Round] = []
        self._session_kib: list[float] = []
        self._back: list[Round] = []
        self.targets: list[Target] = []

    async def run(self) -> None:
        """All rounds. Raises GeneratorFailed."""
        scale = self._bench.scale
        await self._paced(self._lone, scale.warm_seconds)
        await self._paced(self._group, scale.warm_seconds)
        for number in range(scale.crowd_rounds):
            self._bench.say(f"f: {self._crowd} others, round {number + 1} of {scale.crowd_rounds}")
            for stalled in (False, True) if number % 2 == 0 else (True, False):
                if stalled and not self._stalled:
                    await self._fall_behind()
                elif self._stalled and not stalled:
                    await self._come_back()
                self._among[stalled].append(await self._paced(self._group, scale.crowd_seconds))
                if not stalled:
                    self._alone.append(await self._paced(self._lone, scale.crowd_seconds))
        if self._stalled:
            await self._come_back()

    async def _paced(self, who: dict[str, list[int]], seconds: float, *, filling: bool = False) -> Round:
        """One round. If the crowd reads, it must have everything at its end."""
        scale = self._bench.scale
        cpu, others_cpu = self._node.cpu_seconds, self._others.cpu_seconds
        one = await self._load.run(
            do="paced",
            text="x" * FILLING_TEXT_BYTES if filling else self._text,
            seconds=seconds,
            per_second=scale.filling_per_second if filling else scale.crowd_per_second,
            **who,
        )
        self._heads.update(one.answer["heads"])
        if not self._stalled:
            await self._others.run(do="read", heads=self._heads)
        generators_cpu = one.answer["cpu_seconds"] + self._others.cpu_seconds - others_cpu
        return Round({**one.answer, "cpu_seconds": generators_cpu}, self._node.cpu_seconds - cpu)

    async def _fall_behind(self) -> None:
        limits, scale = Limits(), self._bench.scale
        before = await look(self._node)
        self._rss_before = self._rss_before or before.rss
        await self._others.run(do="stall")
        self._stalled = True
        # More than gRPC and the outbox of each take together.
        messages = 1.3 * (TRANSPORT_BYTES + limits.frame_bytes + limits.outbox_bytes) / FILLING_TEXT_BYTES
        self._falling.append(
            await self._paced(self._group, messages / scale.filling_per_second, filling=True)
        )
        after = await look(self._node)
        if after.lagged - before.lagged < self._crowd:
            raise GeneratorFailed(f"{after.lagged - before.lagged} of {self._crowd} stalled readers lag")
        self._session_kib.append((after.rss - self._rss_before) / self._crowd / 1024)

    async def _come_back(self) -> None:
        back = await self._others.run(do="resume", heads=self._heads, limit_seconds=CATCH_UP_LIMIT_SECONDS)
        self._stalled = False
        if back.answer["lags"] < self._crowd:
            raise GeneratorFailed(f"{back.answer['lags']} of {self._crowd} readers were told that they lag")
        self._back.append(back)

    def cases(self, python_kib: float) -> list[Case]:
        """What was measured; `targets` are known afterwards."""
        crowd = self._crowd
        alone = _case(f"{self._readers} readers alone", self._alone)
        healthy = _case(f"{crowd} others read", self._among[False])
        stalled = _case(f"{crowd} others stall", self._among[True])
        falling = _case(f"{crowd} others fall behind, {FILLING_TEXT_BYTES:,} B each", self._falling)
        ratios = _ratios("stalled to healthy", stalled, healthy)
        lagging = Figure.of("RSS per lagging session", "KiB", self._session_kib)
        self.targets = [
            Target.of(
                f"healthy readers' p50, {crowd} stalled to {crowd} healthy",
                "at most",
                TARGET_RATIO,
                ratios.figure("ratio of delivery p50"),
            ),
            Target.of("memory of a lagging session (KiB)", "at most", Limits().outbox_bytes / 1024, lagging),
        ]
        return [
            alone,
            healthy,
            stalled,
            falling,
            ratios,
            _ratios("stalled to alone", stalled, alone),
            _ratios("healthy to alone", healthy, alone),
            Case.of(
                f"{crowd} stalled readers read again",
                [
                    Figure.of("until all are complete", "s", (one.seconds for one in self._back)),
                    Figure.of(
                        "CPU per reader", "µs", (one.node_cpu_seconds / crowd * 1e6 for one in self._back)
                    ),
                    Figure.of("lags told", "", (one.answer["lags"] for one in self._back)),
                ],
                self._back,
            ),
            Case(
                f"{crowd} lagging sessions",
                [lagging, Figure.of("Python's part, without transport", "KiB", [python_kib])],
                [],
                [],
            ),
        ]


def _case(name: str, rounds: Sequence[Round]) -> Case:
    def of(kind: str, percentile: str) -> Iterable[float]:
        return (one.answer[f"{kind}_ms"][percentile] for one in rounds)

    figures = [
        *(Figure.of(f"delivery {p}", "ms", of("delivery", p)) for p in ("p50", "p99", "max")),
        *(Figure.of(f"ack {p}", "ms", of("ack", p)) for p in ("p50", "p99")),
        Figure.of("messages/s", "1/s", (one.answer["sent"] / one.answer["send_seconds"] for one in rounds)),
        Figure.of(
            "node CPU per message", "ms", (one.node_cpu_seconds / one.answer["sent"] * 1e3 for one in rounds)
        ),
    ]
    return Case.of(name, figures, rounds)


def _ratios(name: str, one: Case, other: Case) -> Case:
    figures = []
    for figure in RATIOS:
        pairs = zip(one.figure(figure).rounds, other.figure(figure).rounds, strict=True)
        figures.append(Figure.of(f"ratio of {figure}", "", (a / b for a, b in pairs)))
    return Case(name, figures, [], [])


async def _without_transport(bench: Bench, sessions: int) -> float:
    """KiB that Python holds for each of so many lagging sessions, traced in a process of its own."""
    bench.say(f"f: {sessions} lagging sessions without transport")
    with on_cores(bench.cores.node):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "benchmarks/session.py",
            "--lagging",
            str(sessions),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
    try:
        async with asyncio.timeout(SESSION_LIMIT_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise GeneratorFailed(f"benchmarks/session.py ended with {process.returncode}")
    return float(output)
