"""How much is measured: the full run, the quick one, and what a scenario gets to work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.transports import scale as transports_scale

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.machine import Cores
    from benchmarks.transports.scale import TransportScale


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of the loads. Times are of one round."""

    rounds: int
    seconds: float
    warm_seconds: float
    senders: tuple[int, ...]
    unary_senders: int
    members: int
    devices_each: int
    large_members: int
    several_senders: int
    idle_sessions: tuple[int, ...]
    idle_rounds: int
    idle_seconds: float
    short_history: int
    long_history: int
    returning_devices: int
    returning_channels: tuple[int, ...]
    stall_seconds: float
    stall_warm_seconds: float
    stall_afterwards_seconds: float
    stall_filling_messages: int
    stall_senders: int
    stall_per_second: float
    crowd_members: int
    crowd_devices_each: int
    crowd_probes: int
    crowd_rounds: int
    crowd_seconds: float
    crowd_per_second: float
    filling_per_second: float
    transports: TransportScale


FULL = Scale(
    rounds=5,
    seconds=3.0,
    warm_seconds=1.0,
    senders=(1, 64, 512),
    unary_senders=64,
    members=100,
    devices_each=10,
    large_members=1000,
    several_senders=10,
    idle_sessions=(1000, 10_000),
    idle_rounds=3,
    idle_seconds=4.0,
    short_history=1000,
    long_history=1_000_000,
    returning_devices=1000,
    returning_channels=(1, 50),
    stall_seconds=60.0,
    stall_warm_seconds=4.0,
    stall_afterwards_seconds=2.0,
    stall_filling_messages=27_000,
    stall_senders=24,
    stall_per_second=2000.0,
    crowd_members=100,
    crowd_devices_each=10,
    crowd_probes=10,
    crowd_rounds=6,
    crowd_seconds=5.0,
    crowd_per_second=10.0,
    filling_per_second=10.0,
    transports=transports_scale.FULL,
)
QUICK = Scale(
    rounds=2,
    seconds=0.2,
    warm_seconds=0.1,
    senders=(1, 8),
    unary_senders=4,
    members=5,
    devices_each=2,
    large_members=20,
    several_senders=3,
    idle_sessions=(20,),
    idle_rounds=1,
    idle_seconds=0.3,
    short_history=100,
    long_history=2000,
    returning_devices=20,
    returning_channels=(1, 3),
    stall_seconds=2.5,
    stall_warm_seconds=0.5,
    stall_afterwards_seconds=1.0,
    stall_filling_messages=50,
    stall_senders=8,
    stall_per_second=500.0,
    crowd_members=4,
    crowd_devices_each=5,
    crowd_probes=2,
    crowd_rounds=2,
    crowd_seconds=0.4,
    crowd_per_second=20.0,
    filling_per_second=60.0,
    transports=transports_scale.QUICK,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a scenario works with. `folder` is its own; `say` prints a line of progress."""

    scale: Scale
    folder: Path
    cores: Cores
    say: Callable[[str], None]
