"""Scenario e: what it costs when all devices come back at once after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
from benchmarks.clients import Plan
from benchmarks.figures import Case, Figure, Scenario
from benchmarks.machine import require_files
from benchmarks.parties import Generator, Node
from benchmarks.prepared import prepared_folder, user_ids

from parley_server.chat.cursor import cursor_text
from parley_server.ports.positions import FeedCursor

if TYPE_CHECKING:
    from benchmarks.clients import Device
    from benchmarks.parties import Round
    from benchmarks.scale import Bench

LETTER = "e"
TITLE = "Coming back after a restart"
SETTING = (
    "Every device is of another user, in so many groups of 20, and comes with a cursor from before the "
    "restart. The node has just started: it reads the heads of all channels and tells them (RESET). Each "
    "round is a new node; 50 devices connect at a time, and the time ends when the last one is live. "
    "Reads are the node's read system calls and their bytes, page cache or not; calls by which its "
    "threads wake each other are among them, sockets are not."
)
GROUP_MEMBERS = 20
FORMER_EPOCH = "0123456789abcdef"


async def measure(bench: Bench) -> Scenario:
    """Measure devices with few channels and with many."""
    scale = bench.scale
    require_files(scale.returning_devices)
    users = user_ids(scale.returning_devices)
    cases = []
    for channels in scale.returning_channels:
        path = bench.folder / f"resuming{channels}"
        async with prepared_folder(path) as folder:
            for _ in range(channels):
                for start in range(0, len(users), GROUP_MEMBERS):
                    await folder.group(users[start : start + GROUP_MEMBERS])
            devices = [
                folder.device(user_id, 0, cursor=cursor_text(user_id, FeedCursor(FORMER_EPOCH, 7)))
                for user_id in users
            ]
        cases.append(await _case(bench, path.name, channels, devices))
    return Scenario(LETTER, TITLE, SETTING, cases, [])


async def _case(bench: Bench, folder: str, channels: int, devices: list[Device]) -> Case:
    name = f"{len(devices)} devices with {channels} channel{'s' * (channels > 1)} each"
    rounds: list[Round] = []
    read_kib, read_calls = [], []
    for number in range(bench.scale.idle_rounds):
        bench.say(f"e: {name}, node {number + 1} of {bench.scale.idle_rounds}")
        async with Node(bench.folder / folder, bench.cores) as node:
            plan = Plan(node.address, "stream", devices)
            process = psutil.Process(node.pid)
            async with Generator(plan, node, bench.cores, open_at_once=0) as generator:
                before = process.io_counters()
                rounds.append(await generator.run(do="open", up_to=len(devices)))
                after = process.io_counters()
        read_kib.append((after.read_chars - before.read_chars) / 1024 / len(devices))
        read_calls.append((after.read_count - before.read_count) / len(devices))
    count = len(devices)
    figures = [
        Figure.of("until all are live", "s", (one.seconds for one in rounds)),
        Figure.of("CPU per device", "µs", (one.node_cpu_seconds / count * 1e6 for one in rounds)),
        Figure.of("bytes read per device", "KiB", read_kib),
        Figure.of("read calls per device", "", read_calls),
    ]
    return Case.of(name, figures, rounds)
