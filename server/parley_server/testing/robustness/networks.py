"""Bad networks: each group of devices has one of its own, cut, reset, half-closed, silent or slow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from parley_server.testing.fault_proxy import FaultProxy
    from parley_server.testing.robustness.recorder import Recorder

NETWORK = "network "
KINDS = ("cut", "reset", "half-closed", "blackholed", "1 KiB/s", "delayed")
SLOW_BYTES_PER_SECOND = 1024


async def bad_networks(
    proxies: Sequence[FaultProxy],
    recorder: Recorder,
    random: Random,
    *,
    pause_seconds: tuple[float, float] = (0.05, 0.4),
    last_seconds: tuple[float, float] = (0.3, 2.0),
) -> None:
    """Until cancelled: one fault after the other at one of the networks, every kind in turn, in random order.
    What lasts goes on at several networks at a time.
    """
    async with asyncio.TaskGroup() as group:
        while True:
            for kind in random.sample(KINDS, len(KINDS)):
                proxy = random.choice(proxies)
                group.create_task(_trouble(proxy, kind, recorder, random.uniform(*last_seconds)))
                await asyncio.sleep(random.uniform(*pause_seconds))


async def _trouble(proxy: FaultProxy, kind: str, recorder: Recorder, seconds: float) -> None:
    fault = recorder.fault(NETWORK + kind)
    if kind == "cut":
        proxy.cut()
    elif kind == "reset":
        proxy.reset()
    elif kind == "half-closed":
        proxy.half_close()
    else:
        try:
            if kind == "blackholed":
                proxy.set(blackhole=True)
            elif kind == "1 KiB/s":
                proxy.set(bytes_per_second=SLOW_BYTES_PER_SECOND)
            else:
                proxy.set(delay_seconds=0.05)
            await asyncio.sleep(seconds)
        finally:
            proxy.heal()
    recorder.fault_over(fault)
