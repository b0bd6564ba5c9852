"""Scenario b: how many deliveries a second reach the devices of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.clients import Plan
from benchmarks.figures import Case, Figure, Scenario, Target
from benchmarks.parties import Generator, Node
from benchmarks.prepared import message_text, prepared_folder, user_ids

if TYPE_CHECKING:
    from benchmarks.clients import Device
    from benchmarks.scale import Bench

LETTER = "b"
TITLE = "Deliveries to the devices of one group"
SETTING = (
    "Every device has a connection and a Connect stream of its own; events have about 300 bytes. Senders are "
    "among the devices and have one send in flight each. A round ends when every device has every event: the "
    "time counts until then, and a missing event fails the run. Where events come faster than they can be "
    "written, the node joins several into one frame: events per frame says how often."
)
TARGET_PER_SECOND = 20_000.0


async def measure(bench: Bench) -> Scenario:
    """Measure a group of many devices each, and one of many members."""
    scale = bench.scale
    cases, targets = [], []
    async with prepared_folder(bench.folder / "deliveries") as folder:
        users = user_ids(max(scale.members, scale.large_members))
        group = await folder.group(users[: scale.members])
        large_group = await folder.group(users[: scale.large_members])
        # The first devices send: each of another user.
        devices = [
            folder.device(user_id, number, group)
            for number in range(scale.devices_each)
            for user_id in users[: scale.members]
        ]
        large = [folder.device(user_id, 0, large_group) for user_id in users[: scale.large_members]]
    groups = [
        (f"{scale.members} members × {scale.devices_each} devices", devices),
        (f"{scale.large_members} members × 1 device", large),
    ]
    async with Node(bench.folder / "deliveries", bench.cores) as node:
        for group_name, of_group in groups:
            plan = Plan(node.address, "stream", of_group, message_text(of_group[0].channel_id))
            async with Generator(plan, node, bench.cores) as generator:
                for senders in (1, scale.several_senders):
                    name = f"{group_name}, {senders} sender{'s' * (senders > 1)}"
                    case = await _case(bench, generator, name, of_group, senders)
                    cases.append(case)
                    if of_group is devices:
                        targets.append(
                            Target.of(
                                f"deliveries/s, {name}",
                                "at least",
                                TARGET_PER_SECOND,
                                case.figure("deliveries/s"),
                            )
                        )
    return Scenario(LETTER, TITLE, SETTING, cases, targets)


async def _case(bench: Bench, generator: Generator, name: str, devices: list[Device], senders: int) -> Case:
    bench.say(f"b: {name}")
    scale = bench.scale
    order: dict[str, object] = {"do": "send", "senders": senders, "receivers": len(devices)}
    await generator.run(**order, seconds=scale.warm_seconds)
    rounds = [await generator.run(**order, seconds=scale.seconds) for _ in range(scale.rounds)]
    figures = [
        Figure.of(
            "deliveries/s", "1/s", (one.answer["events"] / one.answer["deliver_seconds"] for one in rounds)
        ),
        Figure.of(
            "deliveries per CPU second",
            "1/s",
            (one.answer["events"] / one.node_cpu_seconds for one in rounds),
        ),
        Figure.of(
            "messages/s", "1/s", (one.answer["sent"] / one.answer["deliver_seconds"] for one in rounds)
        ),
        Figure.of("ack p50", "ms", (one.answer["latency_ms"]["p50"] for one in rounds)),
        Figure.of("events per frame", "", (one.answer["events"] / one.answer["frames"] for one in rounds)),
    ]
    return Case.of(name, figures, rounds)
