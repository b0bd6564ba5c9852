"""How much of the transports is measured: the full run, and the quick one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TransportScale:
    """Sizes of the loads. `seconds` is what one round of one kind should take."""

    rounds: int
    seconds: float
    fan_out_connections: tuple[int, ...]
    fan_out_events: tuple[int, ...]
    coalesced_events: int
    warm_deliveries: int
    paced_seconds: float
    paced_per_second: float
    paced: tuple[tuple[int, int], ...]
    """Connections, and how many of them an event goes to."""
    echo_connections: tuple[int, ...]
    warm_messages: int
    unary: tuple[tuple[int, int], ...]
    """Connections, and calls in flight on each."""
    idle_streams: tuple[int, ...]
    idle_rounds: int
    idle_first: int
    """Streams that are open before the first look at memory."""
    idle_settle_seconds: float


FULL = TransportScale(
    rounds=5,
    seconds=0.6,
    fan_out_connections=(200, 1000, 5000),
    fan_out_events=(1, 10, 100),
    coalesced_events=10,
    warm_deliveries=10_000,
    paced_seconds=1.5,
    paced_per_second=10_000.0,
    paced=((200, 200), (1000, 1000), (1000, 10)),
    echo_connections=(1, 50, 500),
    warm_messages=1000,
    unary=((10, 10), (100, 1)),
    idle_streams=(1000, 10_000),
    idle_rounds=3,
    idle_first=100,
    idle_settle_seconds=0.3,
)
QUICK = TransportScale(
    rounds=2,
    seconds=0.02,
    fan_out_connections=(10,),
    fan_out_events=(1, 10, 100),
    coalesced_events=10,
    warm_deliveries=100,
    paced_seconds=0.1,
    paced_per_second=1000.0,
    paced=((10, 10), (10, 2)),
    echo_connections=(1, 5),
    warm_messages=20,
    unary=((2, 5),),
    idle_streams=(20,),
    idle_rounds=1,
    idle_first=5,
    idle_settle_seconds=0.02,
)
