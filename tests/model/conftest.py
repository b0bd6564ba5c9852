"""What the model tests share."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest
import structlog

from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.testing.model_store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULT_SCHEDULES = 3000


@pytest.fixture(scope="session")
def seeds() -> range:
    """Which runs to play: PARLEY_MODEL_SCHEDULES many (default 3000) from PARLEY_MODEL_SEED (default 0)."""
    first = int(os.environ.get("PARLEY_MODEL_SEED", "0"))
    count = int(os.environ.get("PARLEY_MODEL_SCHEDULES", str(DEFAULT_SCHEDULES)))
    sys.stderr.write(f"model: {count} schedules from seed {first}\n")
    return range(first, first + count)


@pytest.fixture
def make_store() -> Callable[[], ModelStore]:
    """Fresh stores that keep their laws."""
    return lambda: ModelStore("c", MemoryMessageLog(), MemoryProjections())


@pytest.fixture(autouse=True)
def running_loop() -> Iterator[None]:
    """Owners make futures, so a loop must be running; the scheduler resolves everything itself.

    Not in debug mode: it would write down a stack for every future.
    """
    loop = asyncio.new_event_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(None)
        loop.close()


@pytest.fixture(autouse=True)
def no_logs() -> Iterator[None]:
    """Thousands of planned failures are not worth a line each."""
    with structlog.testing.capture_logs():
        yield
