"""A machine that does to streams all that can go wrong, in any order that Hypothesis draws."""

from __future__ import annotations

import random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from parley_server.backends.memory.feed import MemoryFeed
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.positions import MemoryPositions
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.backends.memory.routes import MemoryRoutes
from parley_server.chat.event import HistoryVisibility
from parley_server.testing.device_model import Device
from parley_server.testing.stream_world import SETTINGS, Stores, World

_CHANNELS = {
    "a": HistoryVisibility.FROM_JOINING,
    "b": HistoryVisibility.FROM_JOINING,
    "c": HistoryVisibility.FROM_START,
}
_CLAIMS_TRIED = 6

_channels = st.sampled_from(sorted(_CHANNELS))
_changes = st.sampled_from(["say", "say", "add", "remove"])
_numbers = st.integers(0, 7)


def _stores() -> Stores:
    return Stores(MemoryMessageLog(), MemoryProjections(), MemoryPositions(), MemoryFeed, MemoryRoutes)


class StreamMachine(RuleBasedStateMachine):
    """Two devices of one user, the channels' owners, and everything that can go wrong between them."""

    @initialize(wire_frames=st.integers(1, 3), channel_ids=st.sets(_channels), all_come=st.booleans())
    def begin(self, wire_frames: int, channel_ids: set[str], all_come: bool) -> None:
        self.world = World(_stores(), _CHANNELS, wire_frames=wire_frames)
        self.devices = [Device(self.world, "phone"), Device(self.world, "laptop")]
        for channel_id in sorted(channel_ids):
            self.world.write(channel_id, "add")
        if all_come:
            self.world.gates.let_all_pass()
            self.a_device_comes_and_reads(0, named=True)
            self.a_device_comes_and_reads(1, named=True)

    @rule(channel_id=_channels, batch=st.lists(_changes, min_size=1, max_size=5))
    def write(self, channel_id: str, batch: list[str]) -> None:
        self.world.write(channel_id, *batch)

    @rule(order=st.integers(0, 10_000), count=st.integers(1, 80))
    def let_some_pass(self, order: int, count: int) -> None:
        # Drawn one by one they would make long examples that hide what matters.
        choices = random.Random(order)
        for _ in range(count):
            self.world.gates.let_pass(choices.randrange(100))

    @rule(channel_id=_channels, adds=st.booleans())
    def the_user_goes_and_others_go_on(self, channel_id: str, adds: bool) -> None:
        self.world.write(channel_id, "remove")
        self.world.write(channel_id, "say", *["add"] * adds)

    @rule(channel_id=_channels)
    def a_batch_is_overtaken_by_the_next(self, channel_id: str) -> None:
        self.world.gates.let_all_pass()
        self.world.write(channel_id, "say")
        self.world.write(channel_id, "say")
        for _ in range(8):
            self.world.gates.let_pass(-1)

    @rule()
    def let_all_pass(self) -> None:
        self.world.gates.let_all_pass()

    @rule(channel_id=_channels, count=st.integers(1, 9))
    def write_and_let_all_pass(self, channel_id: str, count: int) -> None:
        for _ in range(count):
            self.world.write(channel_id, "say")
            self.world.gates.let_all_pass()

    @rule(held=_channels, other=_channels)
    def a_delivery_is_held_up(self, held: str, other: str) -> None:
        """Announced and not delivered, while a later announcement is delivered and read."""
        gates = self.world.gates
        gates.let_all_pass()
        self.world.write(held, "say")
        for _ in range(5):
            gates.let_pass(-1)
        self.world.write(other, "say")
        for _ in range(6):
            gates.let_pass(-1)
        for device in self.devices:
            device.read_one()

    @rule(channel_id=_channels)
    def a_removal_is_slow_to_be_projected(self, channel_id: str) -> None:
        """It is in the log, and more after it, when a device comes back to the channel."""
        world, gates, device = self.world, self.world.gates, self.devices[0]
        world.write(channel_id, "add")
        self.a_device_comes_and_reads(0, named=True)
        device.vanish()
        world.write(channel_id, "say")
        gates.let_all_pass()
        world.write(channel_id, "remove")
        world.write(channel_id, "say")
        held = len(gates.waiting)
        device.come(named=True)
        for _ in range(80):
            if len(gates.waiting) > held:
                gates.let_pass(-1)
            device.read_one()

    @rule(channel_id=_channels, steps=st.integers(0, 30), reads=st.booleans())
    def a_device_joins_meanwhile(self, channel_id: str, steps: int, reads: bool) -> None:
        """Something is delivered between two reads of its joining, and nothing after it would tell."""
        world, gates, device = self.world, self.world.gates, self.devices[0]
        world.write(channel_id, "add", "say")
        device.vanish()
        gates.let_all_pass()
        device.come(named=True)
        for _ in range(steps):
            gates.let_pass(0)
            device.read_one()
        held = len(gates.waiting)
        if reads:
            world.mark_read(channel_id, len(world.writers[channel_id].events))
        else:
            world.write(channel_id, "say")
        for _ in range(12):
            if len(gates.waiting) > held:
                gates.let_pass(-1)
        self.everybody_is_in_step_unless_something_was_lost()

    @rule(marked=_channels, written=_channels)
    def a_slow_device_falls_behind_a_read_mark(self, marked: str, written: str) -> None:
        """The mark waits in the outbox when it overflows."""
        world, gates = self.world, self.world.gates
        world.write(marked, "add", "say")
        world.write(written, "add")
        self.a_device_comes_and_reads(0, named=True)
        for number in range(10):
            if number == 4:
                world.mark_read(marked, len(world.writers[marked].events))
            else:
                world.write(written, "say")
            gates.let_all_pass()
        self.everybody_is_in_step_unless_something_was_lost()

    @precondition(lambda self: self.world.publishing)
    @rule(number=_numbers)
    def an_owner_dies(self, number: int) -> None:
        self.world.crash(number)

    @precondition(lambda self: self.world.unpublished)
    @rule()
    def another_owner_takes_over(self) -> None:
        self.world.recover()

    @precondition(lambda self: self.world.batches)
    @rule(number=st.integers(0, 100))
    def an_owner_publishes_again(self, number: int) -> None:
        self.world.publish(self.world.batches[number % len(self.world.batches)])

    @rule(channel_id=_channels, seq=st.integers(1, 12))
    def another_device_reads(self, channel_id: str, seq: int) -> None:
        self.world.mark_read(channel_id, min(seq, len(self.world.writers[channel_id].events)))

    @rule(number=st.integers(0, 1), named=st.booleans())
    def a_device_comes(self, number: int, named: bool) -> None:
        device = self.devices[number]
        if device.stream is None:
            device.come(named=named)

    @rule(number=st.integers(0, 1), named=st.booleans())
    def a_device_comes_and_reads(self, number: int, named: bool) -> None:
        device = self.devices[number]
        device.vanish()
        device.come(named=named)
        self.world.gates.let_all_pass()
        while device.read_one():
            self.world.gates.let_all_pass()

    @rule(number=st.integers(0, 1))
    def a_device_vanishes(self, number: int) -> None:
        self.devices[number].vanish()

    @rule(number=st.integers(0, 1), frames=st.integers(1, 6))
    def a_device_reads(self, number: int, frames: int) -> None:
        for _ in range(frames):
            self.devices[number].read_one()

    @rule(number=st.integers(0, 1))
    def a_device_acknowledges(self, number: int) -> None:
        self.devices[number].acknowledge()

    @rule()
    def positions_are_late(self) -> None:
        self.world.pass_time(SETTINGS.missing_position_seconds)

    @rule()
    def it_is_time_for_a_ping(self) -> None:
        self.world.pass_time(SETTINGS.heartbeat_seconds)

    @rule(really=st.integers(0, 5))
    def the_feed_is_lost(self, really: int) -> None:
        if really == 5:
            self.world.lose_feed()

    @precondition(lambda self: not self.world.lost_something)
    @rule()
    def everybody_is_in_step(self) -> None:
        """Without a crash nobody needs a ping to be in step."""
        self.world.catch_breath(self.devices)
        for device in self.devices:
            if device.stream is not None:
                device.check()

    def everybody_is_in_step_unless_something_was_lost(self) -> None:
        if not self.world.lost_something:
            self.everybody_is_in_step()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        try:
            world.settle(self.devices)
            for device in self.devices:
                device.check()
            claims = [claim for device in self.devices for claim in device.claims]
            # Every cursor that was ever handed out, with what the device had then.
            for number, claim in enumerate(claims[:: max(1, len(claims) // _CLAIMS_TRIED)]):
                returning = Device(world, f"returning{number}", claim.copy())
                returning.come(named=number % 2 == 0)
                world.settle([returning])
                returning.check()
                returning.vanish()
        finally:
            world.close()
