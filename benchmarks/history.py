"""Scenario d: whether a long past makes the first page slower."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.clients import Plan
from benchmarks.figures import Case, Figure, Scenario, Target
from benchmarks.parties import Generator, Node
from benchmarks.prepared import prepared_folder, user_ids

if TYPE_CHECKING:
    from benchmarks.parties import Round
    from benchmarks.scale import Bench

LETTER = "d"
TITLE = "The first page of history"
PAGE_SIZE = 50
SETTING = (
    f"One caller asks for the newest {PAGE_SIZE} messages of a direct channel by ListMessages, again and "
    "again; messages have about 300 bytes. The channels were filled through the ports before the node "
    "started. Rounds of the two channels take turns."
)
TARGET_RATIO = 1.5


async def measure(bench: Bench) -> Scenario:
    """Measure both channels, in turns."""
    scale = bench.scale
    users = user_ids(3)
    sizes = (scale.short_history, scale.long_history)
    bench.say(f"d: writing {sizes[1]:,} messages")
    async with prepared_folder(bench.folder / "history") as folder:
        channels = await folder.direct_channels([(users[0], users[1]), (users[0], users[2])])
        for channel_id, size in zip(channels, sizes, strict=True):
            await folder.fill(channel_id, size)
        plans = [folder.device(users[0], 0, channel_id) for channel_id in channels]
    rounds: tuple[list[Round], list[Round]] = ([], [])
    async with Node(bench.folder / "history", bench.cores) as node:
        short = Generator(Plan(node.address, "unary", plans[:1]), node, bench.cores)
        long = Generator(Plan(node.address, "unary", plans[1:]), node, bench.cores)
        async with short, long:
            for generator in (short, long):
                await generator.run(do="history", page_size=PAGE_SIZE, seconds=scale.warm_seconds)
            for number in range(scale.rounds):
                bench.say(f"d: round {number + 1} of {scale.rounds}")
                for kept, generator in zip(rounds, (short, long), strict=True):
                    kept.append(await generator.run(do="history", page_size=PAGE_SIZE, seconds=scale.seconds))
    cases = [_case(f"{size:,} messages", kept) for size, kept in zip(sizes, rounds, strict=True)]
    ratios = [
        Figure.of(f"ratio of {name}", "", (b / a for a, b in zip(one.rounds, other.rounds, strict=True)))
        for name in ("page p50", "node CPU per page")
        for one, other in [(cases[0].figure(name), cases[1].figure(name))]
    ]
    cases.append(Case("long to short", ratios, [], []))
    targets = [Target.of("history, long to short, page p50", "at most", TARGET_RATIO, ratios[0])]
    return Scenario(LETTER, TITLE, SETTING, cases, targets)


def _case(name: str, rounds: list[Round]) -> Case:
    figures = [
        *(
            Figure.of(f"page {p}", "ms", (one.answer["latency_ms"][p] for one in rounds))
            for p in ("p50", "p95", "p99")
        ),
        Figure.of(
            "node CPU per page", "µs", (one.node_cpu_seconds / one.answer["sent"] * 1e6 for one in rounds)
        ),
        Figure.of("page size", "B", (one.answer["bytes"] / one.answer["sent"] for one in rounds)),
    ]
    return Case.of(name, figures, rounds)
