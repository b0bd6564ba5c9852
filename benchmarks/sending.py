"""Scenario a: how long until a message is durable and acknowledged, and how many a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.clients import Plan
from benchmarks.figures import Case, Figure, Scenario, Target
from benchmarks.parties import Generator, Node
from benchmarks.prepared import message_text, prepared_folder, user_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.clients import Device
    from benchmarks.parties import Round
    from benchmarks.scale import Bench

LETTER = "a"
TITLE = "Sending: from send to acknowledgement"
SETTING = (
    "Every sender has a connection, a user and a direct channel of its own and one send in flight; the peers "
    "are not connected. An event has about 300 bytes. A send counts when its reply came, which is after the "
    "commit was synced. Over Connect the sender also gets its own event, and every one of them must arrive."
)
TARGET_SENDERS = 512
TARGET_PER_SECOND = 10_000.0


async def measure(bench: Bench) -> Scenario:
    """Measure all cases on one node."""
    scale = bench.scale
    most = max(*scale.senders, scale.unary_senders)
    users = user_ids(2 * most)
    pairs = list(zip(users[:most], users[most:], strict=True))
    async with prepared_folder(bench.folder / "sending") as folder:
        channels = await folder.direct_channels(pairs)
        devices = [folder.device(pair[0], 0, channel) for pair, channel in zip(pairs, channels, strict=True)]
    cases = []
    targets = []
    async with Node(bench.folder / "sending", bench.cores) as node:
        for senders in scale.senders:
            name = f"{senders} sender{'s' * (senders > 1)}, Connect"
            case = await _case(bench, node, name, "stream", devices[:senders])
            cases.append(case)
            if senders == TARGET_SENDERS:
                targets.append(
                    Target.of(
                        f"durable messages/s, {name}",
                        "at least",
                        TARGET_PER_SECOND,
                        case.figure("messages/s"),
                    )
                )
        senders = scale.unary_senders
        cases.append(await _case(bench, node, f"{senders} senders, SendMessage", "unary", devices[:senders]))
    return Scenario(LETTER, TITLE, SETTING, cases, targets)


async def _case(bench: Bench, node: Node, name: str, kind: str, devices: Sequence[Device]) -> Case:
    bench.say(f"a: {name}")
    scale = bench.scale
    plan = Plan(node.address, kind, list(devices), message_text(devices[0].channel_id))
    order = {"do": "call"} if kind == "unary" else {"do": "send", "senders": len(devices), "receivers": 1}
    async with Generator(plan, node, bench.cores) as generator:
        await generator.run(**order, seconds=scale.warm_seconds)
        rounds = [await generator.run(**order, seconds=scale.seconds) for _ in range(scale.rounds)]
    figures = [
        Figure.of("messages/s", "1/s", (_per_second(one) for one in rounds)),
        *(
            Figure.of(f"ack {name}", "ms", (one.answer["latency_ms"][name] for one in rounds))
            for name in ("p50", "p95", "p99")
        ),
        Figure.of(
            "node CPU per message", "µs", (one.node_cpu_seconds / one.answer["sent"] * 1e6 for one in rounds)
        ),
    ]
    return Case.of(name, figures, rounds)


def _per_second(one: Round) -> float:
    return float(one.answer["sent"]) / float(one.answer["send_seconds"])
