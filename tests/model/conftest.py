"""What the model tests share."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Protocol

import pytest

from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.testing.model_store import ModelStore
from parley_server.testing.schedule import first_violations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from parley_server.chat.owner import ChannelOwner
    from parley_server.testing.checker import Invariant

    MakeStore = Callable[[], ModelStore]

    class AssertBreaks(Protocol):
        def __call__(
            self, make_owner: type[ChannelOwner], broken: Invariant, make_store: MakeStore | None = None
        ) -> None: ...


DEFAULT_SCHEDULES = 3000


@pytest.fixture(scope="session")
def seeds() -> range:
    """Which runs to play: PARLEY_MODEL_SCHEDULES many (default 3000) from PARLEY_MODEL_SEED (default 0)."""
    first = int(os.environ.get("PARLEY_MODEL_SEED", "0"))
    count = int(os.environ.get("PARLEY_MODEL_SCHEDULES", str(DEFAULT_SCHEDULES)))
    sys.stderr.write(f"model: {count} schedules from seed {first}\n")
    return range(first, first + count)


@pytest.fixture
def make_store() -> MakeStore:
    """Fresh stores that keep their laws."""
    return lambda: ModelStore("c", MemoryMessageLog(), MemoryProjections())


@pytest.fixture
def assert_breaks(seeds: range, make_store: MakeStore) -> AssertBreaks:
    """Plays schedules with an owner, over sound stores or those given, until the invariant is broken.

    Fails if none breaks it.
    """
    sound = make_store

    def play(make_owner: type[ChannelOwner], broken: Invariant, make_store: MakeStore | None = None) -> None:
        found = set()
        for seed in seeds:
            violations = first_violations([seed], make_store or sound, make_owner)
            if violations is not None:
                found |= {violation.invariant for violation in violations[1]}
            if broken in found:
                return
        pytest.fail(f"{len(seeds)} schedules broke only {found or 'nothing'}")

    return play


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
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
