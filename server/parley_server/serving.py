"""A process that is a node: its loop, its signals, its open files, how often it collects garbage."""

from __future__ import annotations

import asyncio
import gc
import signal
from typing import TYPE_CHECKING

import uvloop

from parley_server.node import open_node
from parley_server.open_files import provide_open_files, warn_of_too_few

if TYPE_CHECKING:
    from collections.abc import Callable

    from parley_runtime.settings import Settings
    from parley_server.node import RunningNode

GARBAGE_THRESHOLD = 50_000
"""New containers, beyond those that died, before the youngest generation is collected."""

REST_SECONDS = 1.0
"""For tasks that are left when the node has been closed."""


async def run_node(settings: Settings, *, announce: Callable[[RunningNode], None]) -> signal.Signals:
    """Run a node until SIGTERM or SIGINT, and return which it was. `announce` is called once it serves.

    Raises as `open_node`.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[signal.Signals] = loop.create_future()

    def end(number: signal.Signals) -> None:
        if not ended.done():
            ended.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    try:
        async with open_node(settings) as node:
            announce(node)
            return await ended
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def serve(settings: Settings, *, announce: Callable[[RunningNode], None]) -> signal.Signals:
    """Run a node on a loop of its own (uvloop) until SIGTERM or SIGINT. Blocking. Raises as `open_node`.

    Sets how often this process collects garbage, and of what; and how many files it may have open, to what
    the system allows it.
    """
    open_files = provide_open_files()
    # A tick of a busy node makes thousands of tasks and futures that die at its end. By default every 700 of
    # them start a collection, which finds them alive and walks ever more of the open sessions: a quarter of
    # the CPU. Cycles are rare here and can wait.
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 100)

    def started(node: RunningNode) -> None:
        # What there is now, mostly modules, stays: 80,000 containers, over which every full collection would
        # hold the loop up for some 40 ms.
        gc.collect()
        gc.freeze()
        warn_of_too_few(settings.limits.streams, open_files)
        announce(node)

    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        return runner.run(run_node(settings, announce=started))
    finally:
        # Closing waits for every task. One that swallows its cancellation would hold the process for ever: it
        # goes down with the process, which has nothing left to store.
        if runner.run(_rest_ended(REST_SECONDS)):
            runner.close()


async def _rest_ended(seconds: float) -> bool:
    """Cancel what still runs. Whether it ended in time."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    return not rest or not (await asyncio.wait(rest, timeout=seconds))[1]
