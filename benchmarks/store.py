"""How fast the embedded store is by itself: durable appends, and appends with their projections.

    python benchmarks/store.py [--seconds 4] [--producers 1,64,512] [--folder DIR]

The folder must lie on the disk to be measured: a RAM disk syncs nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.chat.event import (
    ChannelChanged,
    ChannelKind,
    Event,
    HistoryVisibility,
    MessagePosted,
)
from parley_server.ports.message_log import Committed, Row

MADE = ChannelChanged(True, ChannelKind.GROUP, "bench", HistoryVisibility.FROM_START, 100)
EVENT_BYTES = os.urandom(320)
DIGEST = os.urandom(32)


def client_id(number: int) -> str:
    """A UUIDv7-shaped id of this moment."""
    text = f"{time.time_ns() // 1_000_000:012x}7{number % 4096:03x}8{number:015x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


async def produce(
    log: SqliteMessageLog,
    projections: SqliteProjections | None,
    channel_id: str,
    until: float,
    latencies: list[float],
) -> None:
    """Send one message after another to one channel."""
    made = Event(channel_id, 1, 0, 1, "bench", "", b"", MADE)
    await log.append(channel_id, 0, [Row(1, False, b"", EVENT_BYTES)], b"\0" * 16)
    if projections is not None:
        await projections.apply(channel_id, [made])
    head = 1
    while (start := time.perf_counter()) < until:
        seq = head + 1
        result = await log.append(channel_id, head, [Row(seq, True, DIGEST, EVENT_BYTES)], b"\0" * 16)
        if not isinstance(result, Committed):
            raise RuntimeError(f"{result}")
        if projections is not None:
            event = Event(
                channel_id, seq, seq - 1, 1, "bench", client_id(seq), DIGEST, MessagePosted("hello")
            )
            await projections.apply(channel_id, [event])
        latencies.append(time.perf_counter() - start)
        head = seq


async def measure(folder: Path, producers: int, seconds: float, projected: bool) -> None:
    """One cell of the table, printed."""
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        database = await ChatDatabase.open(Path(inner) / "chat.db")
        log, projections = SqliteMessageLog(database), SqliteProjections(database)
        latencies: list[float] = []
        start, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(
            *(
                produce(log, projections if projected else None, f"c{number}", start + seconds, latencies)
                for number in range(producers)
            )
        )
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
        await database.close()
    latencies.sort()
    what = "append+apply" if projected else "append"
    count = len(latencies)
    print(
        f"{what:13} {producers:4} producers  {count / took:8.0f}/s  p50 {latencies[count // 2] * 1e3:6.2f} ms"
        f"  p99 {latencies[count * 99 // 100] * 1e3:7.2f} ms  cpu {cpu / count * 1e6:5.1f} us each"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--producers", default="1,64,512")
    parser.add_argument("--folder", type=Path, default=Path("."))
    options = parser.parse_args()
    for projected in (False, True):
        for producers in options.producers.split(","):
            await measure(options.folder, int(producers), options.seconds, projected)


if __name__ == "__main__":
    asyncio.run(main())
