"""One device that takes nothing for a while under load: what it costs, and that it ends complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.clients import Plan
from benchmarks.figures import Case, Figure, Target
from benchmarks.parties import Generator, GeneratorFailed, Node
from benchmarks.prepared import message_text, prepared_folder, user_ids
from benchmarks.watch import METRICS_SETTINGS, Watch

from parley_runtime.settings import Limits

if TYPE_CHECKING:
    from benchmarks.scale import Bench

SETTING = (
    "One stalled reader: every sender has a direct channel with the same user, whose one device reads, "
    "then takes nothing (it gives the node no window to send in, while its connection lives), then reads "
    "again. The senders go on at the same rate all the time, also while it catches up; each has a "
    "connection of its own and one send in flight. Larger messages filled the node's caches before, so "
    "that its memory does not grow by them. At the end the device's events are compared with what was "
    "sent, by message id: once, in order, none missing, or the run fails; it fails as well if the device "
    "never lagged. Memory and the bytes that wait for readers were looked at every 0.1 s."
)
ROUND_SLACK_SECONDS = 120.0
FILLING_TEXT_BYTES = 3000
GROWTH_LIMIT_MIB = 4.0
"""Kept in memory, the events of the full scale's stall would be 36 MB without what Python needs for each; a
node that was made to keep them missed this after 12 s.
"""
MIB = 1024 * 1024


async def measure(bench: Bench) -> tuple[list[Case], list[Target]]:
    """Measure one stall."""
    scale = bench.scale
    seconds = scale.stall_seconds
    rate = scale.stall_per_second
    name = f"1 reader stalls for {seconds:g} s under {rate:,.0f} messages/s"
    bench.say(f"f: {name}")
    users = user_ids(scale.stall_senders + 1)
    async with prepared_folder(bench.folder / "reader") as folder:
        channels = await folder.direct_channels([(sender, users[-1]) for sender in users[:-1]])
        devices = [
            folder.device(user_id, 0, channel_id)
            for user_id, channel_id in zip(users[:-1], channels, strict=True)
        ]
        devices.append(folder.device(users[-1], 0))
    async with Node(bench.folder / "reader", bench.cores, METRICS_SETTINGS) as node:
        plan = Plan(node.address, "reader", devices, message_text(channels[0]))
        async with Generator(plan, node, bench.cores) as generator, Watch(node) as watch:
            one = await generator.run(
                do="stall_one",
                per_second=rate,
                filling_text="x" * FILLING_TEXT_BYTES,
                filling_messages=scale.stall_filling_messages,
                warm_seconds=scale.stall_warm_seconds,
                stall_seconds=seconds,
                afterwards_seconds=scale.stall_afterwards_seconds,
                limit_seconds=seconds + 2 * scale.stall_warm_seconds + ROUND_SLACK_SECONDS,
            )
    marks = one.answer["marks"]
    before = watch.between(marks["start"], marks["stalled"])
    stalled = watch.between(marks["stalled"], marks["resumed"])
    catching_up = watch.between(marks["resumed"], marks["caught_up"])
    after = watch.between(marks["caught_up"], marks["end"])
    lagged = [sample.time for sample in stalled if sample.lagged > before[-1].lagged]
    if not lagged:
        raise GeneratorFailed("the stalled reader did not lag while it was stalled: stall it longer")
    start_rss = before[-1].rss
    growth = Figure.of("RSS growth, stalled", "MiB", [(max(one.rss for one in stalled) - start_rss) / MIB])
    waiting = Figure.of(
        "most bytes waiting", "KiB", [max(sample.waiting_bytes for sample in watch.samples) / 1024]
    )
    memory = [
        Figure.of("RSS before", "MiB", [start_rss / MIB]),
        Figure.of("RSS at most, stalled", "MiB", [max(sample.rss for sample in stalled) / MIB]),
        growth,
        Figure.of("RSS at most, catching up", "MiB", [max(sample.rss for sample in catching_up) / MIB]),
        Figure.of("RSS after", "MiB", [after[-1].rss / MIB]),
        waiting,
        Figure.of("lagged after", "s", [lagged[0] - marks["stalled"]]),
    ]
    answer = one.answer
    course = [
        Figure.of("messages/s", "1/s", [answer["sent"] / answer["send_seconds"]]),
        Figure.of("ack p50", "ms", [answer["ack_ms"]["p50"]]),
        Figure.of("ack p99", "ms", [answer["ack_ms"]["p99"]]),
        Figure.of("events while stalled", "", [answer["missed_events"]]),
        Figure.of("lags", "", [answer["lags"]]),
        Figure.of("caught up after", "s", [answer["last_caught_up"] - marks["resumed"]]),
        Figure.of("events read, of as many sent", "", [answer["received"]]),
    ]
    cases = [Case(f"{name}: memory", memory, [], []), Case.of(name, course, [one])]
    targets = [
        Target.of("stalled reader, bytes waiting (KiB)", "at most", Limits().outbox_bytes / 1024, waiting),
        Target.of("stalled reader, growth of the node (MiB)", "at most", GROWTH_LIMIT_MIB, growth),
    ]
    return cases, targets
