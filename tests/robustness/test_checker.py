"""The checker is a program that can be wrong: right histories pass it, one wrong thing in them is found."""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_server.testing.robustness.finding import DEVICE_KINDS, Kind
from parley_server.testing.robustness.history import (
    Entry,
    Head,
    History,
    LogRead,
    Outcome,
    Read,
    Send,
    Session,
)
from parley_server.testing.robustness.reader_validation import FINISHED
from parley_server.testing.robustness.sample import correct_history
from parley_server.testing.robustness.validation import validate

if TYPE_CHECKING:
    from collections.abc import Callable


def acknowledged(history: History) -> list[Send]:
    """The attempts that were answered with a place."""
    return [send for send in history.sends if send.outcome is Outcome.OK]


def log_of(history: History, channel_id: str) -> list[LogRead]:
    """All readings of one log."""
    return [read for read in history.logs if read.channel_id == channel_id]


def renumbered(entries: list[Entry]) -> list[Entry]:
    """The same entries with seqs and message numbers as a log has them, so that only their order tells."""
    result: list[Entry] = []
    for seq, entry in enumerate(entries, start=1):
        number = (result[-1].message_no if result else 0) + entry.is_message
        result.append(msgspec.structs.replace(entry, seq=seq, message_no=number, create_time_ms=seq))
    return result


def put_log(history: History, channel_id: str, entries: list[Entry]) -> None:
    """All readers read this."""
    for read in log_of(history, channel_id):
        read.events, read.head_seq = list(entries), entries[-1].seq


def pick_acknowledged(history: History, chance: random.Random) -> tuple[Send, list[Entry], int]:
    """An acknowledged attempt, the log that the message lies in, and its index there."""
    send = chance.choice(acknowledged(history))
    assert send.place is not None
    return send, list(log_of(history, send.channel_id)[0].events), send.place.seq - 1


def pick_stream(history: History, chance: random.Random) -> list[Entry]:
    """The events of one channel on one stream, at least two."""
    found = [
        entries for session in history.sessions for entries in session.events.values() if len(entries) > 1
    ]
    return chance.choice(found)


def lose(history: History, chance: random.Random) -> None:
    send, log, index = pick_acknowledged(history, chance)
    del log[index]
    put_log(history, send.channel_id, renumbered(log))


def lose_the_channel(history: History, chance: random.Random) -> None:
    read = chance.choice(history.logs)
    for each in log_of(history, read.channel_id):
        each.events, each.head_seq, each.missing = [], 0, "CHANNEL_NOT_FOUND"


def duplicate(history: History, chance: random.Random) -> None:
    send, log, index = pick_acknowledged(history, chance)
    put_log(history, send.channel_id, renumbered([*log, log[index]]))


def reorder(history: History, chance: random.Random) -> None:
    # Acknowledgements that name the new places: nothing but the order in time speaks against it.
    channels = [
        channel_id
        for channel_id in history.members
        if len({send.client_message_id for send in acknowledged(history) if send.channel_id == channel_id})
        > 1
    ]
    channel_id = chance.choice(channels)
    of_channel = sorted(
        (send for send in acknowledged(history) if send.channel_id == channel_id),
        key=lambda send: send.end_ns or 0,
    )
    early, late = of_channel[0], of_channel[-1]
    for send in history.sends:
        if send.client_message_id == late.client_message_id:
            assert early.end_ns is not None
            send.start_ns = max(send.start_ns, early.end_ns + 1)
    early.place, late.place = late.place, early.place
    log = list(log_of(history, channel_id)[0].events)
    assert early.place is not None
    assert late.place is not None
    one, other = early.place.seq - 1, late.place.seq - 1
    log[one], log[other] = log[other], log[one]
    put_log(history, channel_id, renumbered(log))


def change_content(history: History, chance: random.Random) -> None:
    send, log, index = pick_acknowledged(history, chance)
    log[index] = msgspec.structs.replace(log[index], content="something else")
    put_log(history, send.channel_id, log)


def change_for_one_reader(history: History, chance: random.Random) -> None:
    read = chance.choice([read for read in history.logs if len(read.events) > 1])
    index = chance.randrange(len(read.events))
    read.events[index] = msgspec.structs.replace(read.events[index], content="something else")


def make_a_hole(history: History, chance: random.Random) -> None:
    read = chance.choice([read for read in history.logs if len(read.events) > 1])
    index = chance.randrange(len(read.events))
    for each in log_of(history, read.channel_id):
        del each.events[index]


def add_a_phantom(history: History, chance: random.Random) -> None:
    read = chance.choice(history.logs)
    phantom = Entry(0, 0, 0, "ann", "id of nobody", True, "boo")
    put_log(history, read.channel_id, renumbered([*read.events, phantom]))


def move_to_another_channel(history: History, chance: random.Random) -> None:
    send, log, index = pick_acknowledged(history, chance)
    other = next(channel_id for channel_id in history.members if channel_id != send.channel_id)
    put_log(history, other, renumbered([*log_of(history, other)[0].events, log[index]]))


def acknowledge_elsewhere(history: History, chance: random.Random) -> None:
    send, _, _ = pick_acknowledged(history, chance)
    assert send.place is not None
    what = chance.choice(("seq", "message_no", "create_time_ms"))
    value = getattr(send.place, what) + chance.choice((-1, 1))
    send.place = msgspec.structs.replace(send.place, **{what: value})


def miscount(history: History, chance: random.Random) -> None:
    read = chance.choice(history.logs)
    index = chance.randrange(len(read.events))
    entry = read.events[index]
    wrong = msgspec.structs.replace(entry, message_no=entry.message_no + 1)
    for each in log_of(history, read.channel_id):
        each.events[index] = wrong


def miscount_unread(history: History, chance: random.Random) -> None:
    chance.choice(history.inbox).unread_count += chance.choice((-1, 1))


def turn_time_back(history: History, chance: random.Random) -> None:
    read = chance.choice([read for read in history.logs if len(read.events) > 1])
    index = chance.randrange(1, len(read.events))
    wrong = msgspec.structs.replace(
        read.events[index], create_time_ms=read.events[index - 1].create_time_ms - 1
    )
    for each in log_of(history, read.channel_id):
        each.events[index] = wrong


def refuse_what_was_written(history: History, chance: random.Random) -> None:
    chosen, _, _ = pick_acknowledged(history, chance)
    for send in history.sends:
        if send.client_message_id == chosen.client_message_id:
            send.outcome, send.place, send.reason = Outcome.REFUSED, None, "CHANNEL_NOT_FOUND"


def call_the_first_a_duplicate(history: History, chance: random.Random) -> None:
    chosen, _, _ = pick_acknowledged(history, chance)
    history.sends = [
        send
        for send in history.sends
        if send.client_message_id != chosen.client_message_id or send.outcome is Outcome.OK
    ]
    chosen.duplicate = True


def call_both_the_first(history: History, chance: random.Random) -> None:
    chosen, _, _ = pick_acknowledged(history, chance)
    again = copy.deepcopy(chosen)
    chosen.duplicate = again.duplicate = False
    history.sends.append(again)


def show_what_is_not_there(history: History, chance: random.Random) -> None:
    entries = pick_stream(history, chance)
    entries.append(msgspec.structs.replace(entries[-1], seq=10_000, content="not in the log"))


def tell_a_head_beyond(history: History, chance: random.Random) -> None:
    read = chance.choice(history.reads)
    read.head_seq += 10_000


def skip_on_a_stream(history: History, chance: random.Random) -> None:
    entries = pick_stream(history, chance)
    del entries[chance.randrange(len(entries) - 1)]


def end_a_stream_early(history: History, chance: random.Random) -> None:
    finished = [session for session in history.sessions if session.ended == FINISHED and session.events]
    session = chance.choice(finished)
    chance.choice(list(session.events.values())).pop()


def repeat_on_a_stream(history: History, chance: random.Random) -> None:
    entries = pick_stream(history, chance)
    index = chance.randrange(len(entries))
    entries.insert(index, entries[index])


def swap_on_a_stream(history: History, chance: random.Random) -> None:
    entries = pick_stream(history, chance)
    index = chance.randrange(len(entries) - 1)
    entries[index], entries[index + 1] = entries[index + 1], entries[index]


def change_on_a_stream(history: History, chance: random.Random) -> None:
    entries = pick_stream(history, chance)
    index = chance.randrange(len(entries))
    entries[index] = msgspec.structs.replace(entries[index], content="something else")


def read_the_past(history: History, chance: random.Random) -> None:
    send, _, _ = pick_acknowledged(history, chance)
    assert send.place is not None
    assert send.end_ns is not None
    history.reads.append(
        Read(
            reader_id="ben",
            call="GetInbox",
            channel_id=send.channel_id,
            start_ns=send.end_ns + 1,
            end_ns=send.end_ns + 2,
            head_seq=send.place.seq - 1,
        )
    )


def open_in_the_past(history: History, chance: random.Random) -> None:
    send, _, _ = pick_acknowledged(history, chance)
    assert send.place is not None
    assert send.end_ns is not None
    session = Session(reader_id="ben", way="connect", start_ns=send.end_ns + 1)
    log = log_of(history, send.channel_id)[0].events
    before = log[send.place.seq - 2]
    session.heads[send.channel_id] = Head(before.seq, before.message_no)
    history.sessions.append(session)


def leave_the_inbox_behind(history: History, chance: random.Random) -> None:
    line = chance.choice(history.inbox)
    line.head = Head(line.head.seq - 1, line.head.message_no)


def hide_from_the_inbox(history: History, chance: random.Random) -> None:
    history.inbox.remove(chance.choice(history.inbox))


def forget_a_mark(history: History, chance: random.Random) -> None:
    mark = chance.choice([mark for mark in history.marks if mark.outcome is Outcome.OK])
    for line in history.inbox:
        if (line.reader_id, line.channel_id) == (mark.user_id, mark.channel_id):
            line.read_seq = mark.read_seq - 1


def invent_a_mark(history: History, chance: random.Random) -> None:
    line = chance.choice(history.inbox)
    line.read_seq = line.head.seq + 1


def give_up(history: History, chance: random.Random) -> None:
    history.gave_up.append(chance.choice(history.sends).client_message_id)


MUTATIONS: list[tuple[Callable[[History, random.Random], None], Kind]] = [
    (lose, Kind.LOST),
    (lose_the_channel, Kind.LOST),
    (duplicate, Kind.DUPLICATED),
    (reorder, Kind.REORDERED),
    (change_content, Kind.CHANGED),
    (change_for_one_reader, Kind.CHANGED),
    (change_on_a_stream, Kind.CHANGED),
    (make_a_hole, Kind.HOLE),
    (add_a_phantom, Kind.PHANTOM),
    (move_to_another_channel, Kind.PHANTOM),
    (acknowledge_elsewhere, Kind.MOVED),
    (miscount, Kind.MISCOUNTED),
    (miscount_unread, Kind.MISCOUNTED),
    (turn_time_back, Kind.TIME_WENT_BACK),
    (refuse_what_was_written, Kind.REFUSED_BUT_WRITTEN),
    (call_the_first_a_duplicate, Kind.MISLABELLED),
    (call_both_the_first, Kind.MISLABELLED),
    (show_what_is_not_there, Kind.VANISHED),
    (tell_a_head_beyond, Kind.VANISHED),
    (skip_on_a_stream, Kind.STREAM_HOLE),
    (end_a_stream_early, Kind.STREAM_HOLE),
    (repeat_on_a_stream, Kind.STREAM_OUT_OF_ORDER),
    (swap_on_a_stream, Kind.STREAM_OUT_OF_ORDER),
    (read_the_past, Kind.STALE),
    (open_in_the_past, Kind.STALE),
    (leave_the_inbox_behind, Kind.BEHIND),
    (hide_from_the_inbox, Kind.BEHIND),
    (forget_a_mark, Kind.MARK_LOST),
    (invent_a_mark, Kind.MARK_PHANTOM),
    (give_up, Kind.UNANSWERED),
]


@given(st.integers(0, 2**32), st.integers(0, 120))
def test_a_correct_history_passes(seed: int, steps: int) -> None:
    assert validate(correct_history(seed, steps)) == []


@given(st.integers(0, 2**32), st.integers(0, 2**32), st.sampled_from(MUTATIONS))
def test_one_change_to_a_correct_history_is_found(
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


def test_every_kind_of_finding_has_a_mutation() -> None:
    """Those that only devices meet have theirs in test_device_checker."""
    assert {kind for _, kind in MUTATIONS} == set(Kind) - DEVICE_KINDS
