"""Programs with our SDK in the same world as the devices by the book."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING

import pytest

import parley
from parley.channel.v1 import channel_pb2
from parley.chat.v1 import event_pb2
from parley_server.testing.robustness.device import RESTLESS, Habits
from parley_server.testing.robustness.faults import KILL
from parley_server.testing.robustness.finding import Kind
from parley_server.testing.robustness.history import Entry, Place, Step, content_of
from parley_server.testing.robustness.networks import KINDS, NETWORK
from parley_server.testing.robustness.reader_validation import FINISHED
from parley_server.testing.robustness.report import Demands
from parley_server.testing.robustness.scenario import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from tests.robustness.conftest import DevicesPlan

    from parley_server.testing.raw_client import Person
    from parley_server.testing.robustness.history import DeviceStream, Send
    from parley_server.testing.robustness.recorder import Recorder

# `make robustness` asks for more.
MESSAGES = int(os.environ.get("PARLEY_ROBUSTNESS_MESSAGES", "2000")) // 2
KILLS = max(2, MESSAGES // 1000)
FAULTS = frozenset({KILL, *(NETWORK + kind for kind in KINDS)})


class SdkDevice:
    """One loop over `client.events()`, ended and begun again on the same state. Each life of its client is a
    stream of the history, in which every event must be new: it was acknowledged, or not written down.
    """

    def __init__(
        self,
        habits: Habits,
        name: str,
        address: str,
        person: Person,
        recorder: Recorder,
        random: Random,
        state: parley.MemoryState | None = None,
    ) -> None:
        self._name = name
        self._address = address
        self._person = person
        self._recorder = recorder
        self._random = random
        self._habits = habits
        self._state = state or parley.MemoryState()
        self._seqs: dict[str, int] = {}
        self._number = 0
        self._live = asyncio.Event()
        self._staying = asyncio.Event()
        self._leaving = asyncio.Event()
        self._finished = False
        self._awaited: tuple[Mapping[str, int], asyncio.Future[None]] | None = None

    async def run(self) -> None:
        """Live until cancelled."""
        while True:
            await self._run_client()
            if not self._staying.is_set():
                await _wait(self._staying, self._random.uniform(*self._habits.sleep_seconds))

    async def live(self) -> None:
        """Return when there is a stream that has caught up."""
        await self._live.wait()

    def stay(self) -> None:
        """Sleep no more and leave no stream."""
        self._staying.set()

    async def has(self, seqs: Mapping[str, int], read: Mapping[str, int]) -> None:
        """Return when the program was given these seqs. Read positions are not among events."""
        del read
        self._awaited = (seqs, asyncio.get_running_loop().create_future())
        self._check_awaited()
        await self._awaited[1]

    async def come_again(self) -> None:
        """End the program and begin it again. Returns when its stream has caught up."""
        self._live.clear()
        self._leaving.set()
        await self._live.wait()

    def finish(self) -> None:
        """The client that is open now should have given everything: say so in the history."""
        self._finished = self._live.is_set()

    async def _run_client(self) -> None:
        self._number += 1
        self._leaving.clear()
        stream = self._recorder.device_stream(
            self._name, self._person.user_id, 0, self._number, "", kind="sdk"
        )
        why = "cancelled"
        try:
            async with parley.connect(
                self._address, token=self._person.access_token, state=self._state
            ) as client:
                events = client.events()
                events.acknowledges = False
                async with asyncio.TaskGroup() as tasks:
                    # It closes the events, which ends the loop.
                    tasks.create_task(self._mind(events))
                    async for event in events:
                        self._take(event, stream)
            why = "the program ended"
        finally:
            self._live.clear()
            self._recorder.device_stream_ended(stream, FINISHED if self._finished else why)

    async def _mind(self, events: parley.EventStream) -> None:
        """Say when the stream is live, and close it when it is time."""
        await events.ready()
        self._live.set()
        self._check_awaited()
        if self._random.random() >= self._habits.for_good and not self._staying.is_set():
            await _wait(self._staying, self._random.uniform(*self._habits.stay_seconds))
            if not self._staying.is_set():
                self._leaving.set()
        await self._leaving.wait()
        self._live.clear()
        await events.aclose()

    def _take(self, event: parley.Event, stream: DeviceStream) -> None:
        if self._leaving.is_set():
            # Given while the client was being closed: not acknowledged, so it must come again.
            return
        stream.steps.append(Step("event", event.channel_id, event.seq, entry_of_event(event)))
        self._seqs[event.channel_id] = max(event.seq, self._seqs.get(event.channel_id, 0))
        event.ack()
        self._check_awaited()

    def _check_awaited(self) -> None:
        if self._awaited is None or not self._live.is_set():
            return
        seqs, reached = self._awaited
        if not reached.done() and all(
            self._seqs.get(channel_id, 0) >= seq for channel_id, seq in seqs.items()
        ):
            reached.set_result(None)


class SdkWriter:
    """Posts a few messages at once into one channel, and waits for what comes of them: they must lie in the
    log in the order in which they were posted, each once.
    """

    def __init__(
        self, address: str, person: Person, channel_ids: list[str], recorder: Recorder, random: Random
    ) -> None:
        self._address = address
        self._person = person
        self._channel_ids = channel_ids
        self._recorder = recorder
        self._random = random
        self._stopping = False
        self._number = 0

    def stop(self) -> None:
        """Post nothing more."""
        self._stopping = True

    async def run(self) -> None:
        """Post until stopped; returns when everything is answered."""
        async with parley.connect(self._address, token=self._person.access_token) as client:
            # Messages go over the stream while one is open, else by calls: both ways are met.
            reading = asyncio.create_task(_read_on(client))
            try:
                while not self._stopping:
                    await self._burst(client)
            finally:
                reading.cancel()

    async def _burst(self, client: parley.Client) -> None:
        channel = client.channel(self._random.choice(self._channel_ids))
        posted: list[Send] = []
        answered: list[int] = []
        try:
            for _ in range(self._random.randint(1, 6)):
                self._number += 1
                text, message_id = f"posted by {self._person.username} {self._number}", parley.new_id()
                posted.append(
                    self._recorder.send(
                        self._person.user_id, "sdk", channel.id, message_id, content_of(text, {})
                    )
                )
                await channel.post(text, client_message_id=message_id)
            for send in posted:
                sent = await client.result(send.client_message_id)
                place = Place(sent.seq, sent.message_no, sent.create_time_ms)
                # The attempts are the client's own: to the program there is one.
                self._recorder.answered(send, place, duplicate=False)
                answered.append(sent.seq)
        finally:
            for send in posted[len(answered) :]:
                self._recorder.unknown(send, "the run was over")
                self._recorder.history.gave_up.append(send.client_message_id)
        assert answered == sorted(answered), f"posted in this order, written as {answered}"


async def _read_on(client: parley.Client) -> None:
    async for event in client.events():
        event.ack()


def entry_of_event(event: parley.Event) -> Entry:
    """The SDK's event as the history keeps it: the same as that of the contract's."""
    if isinstance(event, parley.MessageEvent):
        content = content_of(event.text, event.attributes)
    elif isinstance(event, parley.MemberEvent):
        changed = event_pb2.MemberChanged(
            user_id=event.user_id,
            change=event_pb2.MemberChange.ValueType(event.change.value),
            role=channel_pb2.Role.ValueType(event.role.value),
        )
        content = f"member_changed {changed.SerializeToString(deterministic=True).hex()}"
    else:
        content = type(event).__name__
    return Entry(
        event.seq,
        event.message_no,
        event.create_time_ms,
        event.actor_id,
        event.client_message_id,
        isinstance(event, parley.MessageEvent),
        content,
    )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


@pytest.mark.slow
@pytest.mark.timeout(180 + MESSAGES // 10)
def test_every_program_is_given_its_share_of_the_log_once(run_devices: DevicesPlan, seed: int) -> None:
    """20 programs that loop over `client.events()`, acknowledge, end and begin again: kills, bad networks and
    moving members as in test_devices, and every event once, in order, up to the end of the log. Five more
    post messages over bad networks: each stands in the log once, in the order of posting.

    Planted once: all that waits for a channel sent at once.
    """
    report = run_devices(
        Plan(seed=seed, kills=KILLS, acknowledged=MESSAGES, drain_seconds=40.0),
        # Each program is ended and begun again at least once, in the end.
        Demands(kills=KILLS, acknowledged=MESSAGES, faults=FAULTS, lives=40, moves=33),
        make=partial(SdkDevice, Habits()),
        write=SdkWriter,
    )
    assert report.passed, report.text()
    posted = [send for send in report.history.sends if send.way == "sdk"]
    assert len(posted) > MESSAGES // 50, f"only {len(posted)} messages were posted"


class Forgetful(parley.MemoryState):
    """Planted bug: a store that says it has stored a position and, one time in three, has not."""

    _saves = 0

    async def save_position(self, seqs: Mapping[str, int], cursor: str) -> None:
        self._saves += 1
        if self._saves % 3:
            await super().save_position(seqs, cursor)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_state_store_that_forgets_is_found(run_devices: DevicesPlan, seed: int) -> None:
    """Events that were acknowledged come again, and the checker says so."""

    def make(name: str, address: str, person: Person, recorder: Recorder, random: Random) -> SdkDevice:
        return SdkDevice(RESTLESS, name, address, person, recorder, random, Forgetful())

    plan = Plan(seed=seed, kills=0, acknowledged=300, drain_seconds=5.0)
    report = run_devices(plan, Demands(), make=make, keep=False)
    assert Kind.STREAM_OUT_OF_ORDER in report.kinds, report.text()
