"""The checker's devices' side: one wrong thing in what a device was given is found under its name."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_server.chat.cursor import cursor_of, cursor_text
from parley_server.ports.positions import FeedCursor
from parley_server.testing.robustness.finding import DEVICE_KINDS, Kind
from parley_server.testing.robustness.history import DeviceStream, History, Outcome, Step
from parley_server.testing.robustness.sample import PEOPLE, ROAMER, correct_history
from parley_server.testing.robustness.validation import validate

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = ("event", "fetched")


def last_stream(history: History, chance: random.Random) -> DeviceStream:
    """The last stream of somebody's device, which began with messages that were acknowledged before."""
    user_id = chance.choice(PEOPLE)
    return [stream for stream in history.device_streams if stream.user_id == user_id][-1]


def a_shown_event(history: History, chance: random.Random) -> tuple[DeviceStream, int]:
    """A stream and the index of an event in it."""
    streams = [
        stream for stream in history.device_streams if any(step.what == "event" for step in stream.steps)
    ]
    stream = chance.choice(streams)
    indexes = [index for index, step in enumerate(stream.steps) if step.what == "event"]
    return stream, chance.choice(indexes)


def pass_over_an_event(history: History, chance: random.Random) -> None:
    user_id = chance.choice(PEOPLE)
    given_to = [
        (stream, step)
        for stream in history.device_streams
        if stream.user_id == user_id
        for step in stream.steps
        if step.what in EVENTS
    ]
    newest = {step.channel_id: step.seq for _, step in given_to}
    stream, step = chance.choice([each for each in given_to if each[1].seq < newest[each[1].channel_id]])
    stream.steps.remove(step)


def meet_without_joining(history: History, chance: random.Random) -> None:
    del chance
    for stream in history.device_streams:
        for step in stream.steps:
            if stream.user_id == ROAMER and step.what in EVENTS:
                stream.steps.remove(step)
                return


def be_live_too_early(history: History, chance: random.Random) -> None:
    stream = last_stream(history, chance)
    stream.steps.remove(Step("caught_up"))
    stream.steps.insert(0, Step("caught_up"))


def give_the_cursor_first(history: History, chance: random.Random) -> None:
    stream = last_stream(history, chance)
    stream.steps.insert(0, next(step for step in reversed(stream.steps) if step.what == "cursor"))


def go_back(history: History, chance: random.Random) -> None:
    stream = last_stream(history, chance)
    cursor = cursor_of(stream.user_id, stream.steps[-1].text)
    assert cursor is not None
    older = FeedCursor(cursor.epoch, cursor.position - 1)
    stream.steps.append(Step("cursor", text=cursor_text(stream.user_id, older)))


def give_garbage_for_a_cursor(history: History, chance: random.Random) -> None:
    last_stream(history, chance).steps.append(Step("cursor", text="garbage"))


def keep_the_epoch(history: History, chance: random.Random) -> None:
    reset = [stream for stream in history.device_streams if stream.resume == "reset EPOCH_CHANGED"]
    chance.choice(reset).resume = chance.choice(("continued", "replayed", "digested"))


def serve_a_stranger(history: History, chance: random.Random) -> None:
    # The roamer is never in this channel.
    log = next(read.events for read in history.logs if read.channel_id == "b")
    entry = chance.choice(log)
    streams = [stream for stream in history.device_streams if stream.user_id == ROAMER]
    chance.choice(streams).steps.append(Step(chance.choice(EVENTS), "b", entry.seq, entry))


def withhold_the_newest(history: History, chance: random.Random) -> None:
    stream = last_stream(history, chance)
    stream.steps.remove(next(step for step in reversed(stream.steps) if step.what in EVENTS))


def be_away_at_the_end(history: History, chance: random.Random) -> None:
    last_stream(history, chance).ended = "UNAVAILABLE"


def withhold_a_mark(history: History, chance: random.Random) -> None:
    mark = chance.choice([mark for mark in history.marks if mark.outcome is Outcome.OK])
    for stream in history.device_streams:
        if stream.user_id == mark.user_id:
            stream.steps = [
                step for step in stream.steps if (step.what, step.channel_id) != ("read", mark.channel_id)
            ]


def tell_of_a_mark_that_nobody_set(history: History, chance: random.Random) -> None:
    last_stream(history, chance).steps.append(Step("read", "a", 10_000))


def show_an_event_again(history: History, chance: random.Random) -> None:
    stream, index = a_shown_event(history, chance)
    stream.steps.insert(index, stream.steps[index])


def show_another_content(history: History, chance: random.Random) -> None:
    stream, index = a_shown_event(history, chance)
    entry = stream.steps[index].entry
    assert entry is not None
    wrong = msgspec.structs.replace(entry, content="something else")
    stream.steps[index] = msgspec.structs.replace(stream.steps[index], entry=wrong)


def begin_beyond_the_head(history: History, chance: random.Random) -> None:
    stream = next(each for each in history.device_streams if each.user_id == chance.choice(PEOPLE))
    stream.steps.insert(0, Step("began", "a", 10_000))


MUTATIONS: list[tuple[Callable[[History, random.Random], None], Kind]] = [
    (pass_over_an_event, Kind.MISSED),
    (meet_without_joining, Kind.MISSED),
    (be_live_too_early, Kind.NOT_CAUGHT_UP),
    (give_the_cursor_first, Kind.CURSOR_AHEAD),
    (go_back, Kind.CURSOR_WENT_BACK),
    (give_garbage_for_a_cursor, Kind.CURSOR_WENT_BACK),
    (keep_the_epoch, Kind.EPOCH_KEPT),
    (serve_a_stranger, Kind.STRANGER_SERVED),
    (withhold_the_newest, Kind.ENDED_EARLY),
    (be_away_at_the_end, Kind.ENDED_EARLY),
    (withhold_a_mark, Kind.MARK_NOT_TOLD),
    (tell_of_a_mark_that_nobody_set, Kind.MARK_PHANTOM),
    (show_an_event_again, Kind.STREAM_OUT_OF_ORDER),
    (show_another_content, Kind.CHANGED),
    (begin_beyond_the_head, Kind.VANISHED),
]


@given(st.integers(0, 2**32), st.integers(0, 2**32), st.sampled_from(MUTATIONS))
def test_one_change_to_what_a_device_was_given_is_found(
    seed: int, chance: int, mutation: tuple[Callable[[History, random.Random], None], Kind]
) -> None:
    history = correct_history(seed)
    mutate, kind = mutation
    mutate(history, random.Random(chance))
    assert kind in {finding.kind for finding in validate(history)}


@pytest.mark.parametrize(("mutate", "kind"), MUTATIONS, ids=[mutate.__name__ for mutate, _ in MUTATIONS])
def test_each_mutation_is_found_under_its_name(
    mutate: Callable[[History, random.Random], None], kind: Kind
) -> None:
    """Each by itself, so that one that stopped doing anything shows."""
    for seed in range(20):
        history = correct_history(seed)
        mutate(history, random.Random(seed))
        assert kind in {finding.kind for finding in validate(history)}


def test_every_kind_that_only_devices_meet_has_a_mutation() -> None:
    assert {kind for _, kind in MUTATIONS} >= DEVICE_KINDS
