"""A user who comes, goes and comes again in a channel while the stream catches up with another."""

from __future__ import annotations

import itertools

import pytest

from parley_server.backends.memory.feed import MemoryFeed
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.positions import MemoryPositions
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.backends.memory.routes import MemoryRoutes
from parley_server.chat.event import HistoryVisibility
from parley_server.chat.session import Phase
from parley_server.testing.device_model import Device
from parley_server.testing.stream_world import Stores, World

# How many port calls take effect between two batches: none, some, nearly all under way.
PASSES = (0, 3, 7, 14)
CALLS_TO_JOIN = 50
BATCHES = (("add", "say"), ("say", "remove"), ("say", "add", "say"))


def _world(visibility: HistoryVisibility) -> World:
    stores = Stores(MemoryMessageLog(), MemoryProjections(), MemoryPositions(), MemoryFeed, MemoryRoutes)
    return World(stores, {"moving": visibility, "busy": visibility})


def _came_back_behind(world: World, *, met: bool, named: bool) -> Device:
    """A device that has begun to catch up with "busy". `met`: it was in "moving" once, and has left."""
    world.write("busy", "add", "say")
    if met:
        world.write("moving", "add", "say")
    world.gates.let_all_pass()
    device = Device(world, "phone")
    device.come(named=True)
    world.catch_breath([device])
    if met:
        world.write("moving", "remove", "say")
        world.catch_breath([device])
    device.vanish()
    for _ in range(4):
        world.write("busy", "say")
        world.gates.let_all_pass()
    device.come(named=named)
    assert device.stream is not None
    for _ in range(CALLS_TO_JOIN):
        if device.stream._session.phase is Phase.CATCHING_UP:
            break
        world.gates.let_pass(0)
    return device


@pytest.mark.parametrize("visibility", [HistoryVisibility.FROM_JOINING, HistoryVisibility.FROM_START])
@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
@pytest.mark.parametrize("met", [True, False], ids=["met before", "never met"])
def test_added_removed_and_added_again_while_a_stream_catches_up(
    visibility: HistoryVisibility, named: bool, met: bool
) -> None:
    """However far the stream has come at each of the three changes: the device ends with all of its user's
    times in the channel, in order, none of what lay between, and what is said next comes live.

    Planted once: several memberships taken for the first, so that the stream began at the newest one; what
    comes while catching up not noted.
    """
    still_catching_up = 0
    for first, second in itertools.product(PASSES, PASSES):
        # The oldest call first, or the newest.
        which = 0 if first <= second else -1
        world = _world(visibility)
        try:
            device = _came_back_behind(world, met=met, named=named)
            stream = device.stream
            assert stream is not None
            for batch, passes in zip(BATCHES, (first, second, 0), strict=True):
                world.write("moving", *batch)
                for _ in range(passes):
                    world.gates.let_pass(which)
                    device.read_one()
            still_catching_up += stream._session.phase is Phase.CATCHING_UP
            world.catch_breath([device])
            device.check()
            last = world.visible("moving")[-1]
            world.write("moving", "say")
            world.catch_breath([device])
            device.check()
            assert device.got["moving"][-1] == last + 1
            assert device.resumes[-1] != "reset"
        finally:
            world.close()
    assert still_catching_up
