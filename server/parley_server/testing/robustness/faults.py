"""What is done to the node while the traffic runs. Each is written down with what was in flight then."""

from __future__ import annotations

import asyncio
import resource
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from random import Random

    from parley_server.testing.node_process import NodeProcess
    from parley_server.testing.robustness.history import Fault
    from parley_server.testing.robustness.recorder import Recorder

KILL = "kill"
KILL_AT_REST = "kill at rest"
PAUSE = "pause"
DISK_FULL = "disk full"


async def kill(node: NodeProcess, recorder: Recorder) -> Fault:
    """SIGKILL while at least one send is in flight, then start again on the same data.

    Nothing is awaited between the look at what is in flight and the signal.
    """
    await recorder.until(lambda: bool(recorder.in_flight))
    fault = recorder.fault(KILL)
    # `kill` signals in its first step.
    await node.kill()
    await node.start()
    recorder.fault_over(fault)
    return fault


async def kill_at_rest(node: NodeProcess, recorder: Recorder) -> None:
    """SIGKILL after everything was answered: the last acknowledgements must hold too."""
    fault = recorder.fault(KILL_AT_REST)
    await node.kill()
    await node.start()
    recorder.fault_over(fault)


async def pause(node: NodeProcess, recorder: Recorder, seconds: float) -> None:
    """Stop the process as it stands, and let it go on after `seconds`."""
    await recorder.until(lambda: bool(recorder.in_flight))
    fault = recorder.fault(PAUSE)
    node.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        node.send(signal.SIGCONT)
    recorder.fault_over(fault)


@asynccontextmanager
async def disk_full(
    recorder: Recorder, fill: Callable[[], None], make_room: Callable[[], None]
) -> AsyncIterator[Fault]:
    """For the length of the block there is no room: `fill` takes it away, `make_room` gives it back."""
    await recorder.until(lambda: bool(recorder.in_flight))
    fault = recorder.fault(DISK_FULL)
    fill()
    try:
        yield fault
    finally:
        make_room()
    recorder.fault_over(fault)


def limit_file_size(node: NodeProcess, limit_bytes: int | None) -> None:
    """Let no file of the running node grow beyond this (EFBIG); None: as large as it likes again."""
    soft = resource.RLIM_INFINITY if limit_bytes is None else limit_bytes
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))


def jitter(random: Random) -> float:
    """Seconds to wait before a fault: none, a few milliseconds, or some dozens, each as often.

    Senders that wait for answers fall into step with the store's commits: without it all faults would hit the
    same stage of a message's way.
    """
    return random.choice((0.0, random.uniform(0.0, 0.01), random.uniform(0.0, 0.06)))
