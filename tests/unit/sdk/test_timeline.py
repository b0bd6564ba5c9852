"""The laws of a timeline, against a log that is replayed from its beginning for every question."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parley
from parley_server.testing.timeline.log import TimelineLog
from parley_server.testing.timeline.world import World
from parley_server.testing.timeline.writer import CHANNEL, ME, timeline_logs

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


def timeline(*events: parley.Event) -> parley.Timeline:
    made = parley.Timeline(CHANNEL, ME)
    made.take(events)
    return made


def check(shown: parley.Timeline, world: World) -> None:
    """The timeline shows what the reference holds."""
    assert shown.deleted is shown.gone is world.deleted
    if world.deleted:
        assert (shown.messages(), shown.pins, shown.members, shown.settings) == ([], (), {}, None)
        return
    check_messages(shown, world)
    assert shown.pins == world.pins()
    assert shown.members == world.members
    assert shown.settings is not None and shown.settings.title == world.title


def check_messages(shown: parley.Timeline, world: World) -> None:
    assert [message.seq for message in shown.messages()] == list(world.messages)
    for found, message in zip(shown.messages(), world.messages.values(), strict=True):
        event = message.event
        assert found == parley.TimelineMessage(
            seq=event.seq,
            message_no=0,
            create_time_ms=event.create_time_ms,
            author_id=event.actor_id,
            client_message_id="",
            text=message.text,
            reply_to_seq=event.reply_to_seq,
            thread_root_seq=event.thread_root_seq,
            edit_seq=message.edit_seq,
            edit_time_ms=message.edit_time_ms,
            delete_seq=message.delete_seq,
            pin_seq=message.pin_seq,
            reactions=message.reactions_for(ME),
            reply_count=len(message.replies),
            last_reply_seq=message.replies[-1] if message.replies else 0,
        )
        assert (found.edited, found.deleted) == (message.edit_seq > 0, message.delete_seq > 0)


@given(timeline_logs())
@settings(max_examples=60, deadline=None)
def test_live_and_history_show_what_happened(log: TimelineLog) -> None:
    """After every event, live and by one range. Planted: an emoji that came back kept its old place."""
    live, world = parley.Timeline(CHANNEL, ME), World()
    for event in log.events:
        live.take(event)
        world.apply(event)
        check(live, world)
    history = timeline(*log.served_range(1, len(log.events), len(log.events)))
    assert history == live


@given(timeline_logs(), st.randoms(use_true_random=True))
@settings(max_examples=120, deadline=None)
def test_the_order_of_arrival_and_repetition_do_not_matter(log: TimelineLog, random: Random) -> None:
    """Whatever was served at whatever moment, shuffled and with repetitions, is the same timeline, also while
    it is incomplete. Planted, each caught: the state served last wins over the newest; an edit that arrives
    late wins over a newer one; events of messages that are not there yet passed over.
    """
    pieces: list[list[parley.Event]] = []
    for event in log.events:
        if random.random() < 0.6:
            pieces.append([event])
        for _ in range(random.randrange(3)):
            as_of = random.randint(event.seq, len(log.events))
            pieces.append(log.served_range(event.seq, event.seq + random.randrange(3), as_of))
    once = timeline(*(event for piece in pieces for event in piece))
    random.shuffle(pieces)
    other = parley.Timeline(CHANNEL, ME)
    for piece in pieces:
        before = {message.seq: message for message in other.messages()}
        touched = other.take(piece)
        after = {message.seq: message for message in other.messages()}
        changed = {seq for seq in before.keys() | after.keys() if before.get(seq) != after.get(seq)}
        assert changed <= touched
    assert other == once
    other.take(event for piece in pieces for event in piece)
    assert other == once


@given(timeline_logs(), st.randoms(use_true_random=True))
@settings(max_examples=120, deadline=None)
def test_a_state_that_was_served_holds_for_everything_before_it(log: TimelineLog, random: Random) -> None:
    """Messages served at one moment look as they did then, whichever of the events before it are known.

    Planted, each caught: an edit, a pin or a reaction of before held against the state.
    """
    as_of = random.randint(1, len(log.events))
    world = log.at(as_of)
    pieces = [event for event in log.events[:as_of] if random.random() < 0.5]
    pieces = [log.served(event.seq, as_of) if random.random() < 0.2 else event for event in pieces]
    pieces = [event for event in pieces if not isinstance(event, parley.ChannelDeletedEvent)]
    pieces += [log.served(seq, as_of) for seq in world.messages]
    random.shuffle(pieces)
    check_messages(timeline(*pieces), world)


@given(timeline_logs(), st.data())
@settings(max_examples=120, deadline=None)
def test_a_device_that_was_away_ends_where_the_others_are(log: TimelineLog, data: st.DataObject) -> None:
    """Online up to some event, then the rest by a range, with older pages read at any moment in between and
    given at any time.
    """
    head = len(log.events)
    left_at = data.draw(st.integers(0, head))
    flow = [[event] for event in log.events[:left_at]]
    flow += [[event] for event in log.served_range(left_at + 1, head, head)]
    for seq in log.message_seqs():
        for as_of in data.draw(st.lists(st.integers(seq, head), max_size=2)):
            page = [log.served(seq, as_of)]
            flow.insert(data.draw(st.integers(0, len(flow))), page)
    device = parley.Timeline(CHANNEL, ME)
    for piece in flow:
        device.take(piece)
    check(device, log.at(head))


@given(timeline_logs(), st.data())
@settings(max_examples=60, deadline=None)
def test_pages_of_messages_and_what_happens_after_them(log: TimelineLog, data: st.DataObject) -> None:
    """What a client does that opens a channel: settings, members, a page, and events from before on.

    Planted: listed pins that outlive a deletion; members listed over events that came after.
    """
    head = len(log.events)
    if isinstance(log.events[-1], parley.ChannelDeletedEvent):
        return
    opened = data.draw(st.integers(2, head))
    world = log.at(opened)
    device = parley.Timeline(CHANNEL, ME)
    info = parley.ChannelInfo(
        channel_id=CHANNEL,
        kind=parley.ChannelKind.GROUP,
        title=world.title,
        history_visibility=parley.HistoryVisibility.FROM_START,
        creator_id=ME,
        create_time_ms=0,
        member_count=len(world.members),
        member_limit=100,
        head_seq=opened,
        head_message_no=0,
        pinned_seqs=world.pins(),
    )
    # The listing may be of any later moment.
    listed = log.at(data.draw(st.integers(opened, head))).members
    members = [parley.Member(user_id, role, 0, 0) for user_id, role in listed.items()]
    page = [log.served(seq, data.draw(st.integers(opened, head))) for seq in world.messages]
    since = data.draw(st.integers(0, opened))
    steps: list[Callable[[], object]] = [
        lambda: device.take_info(info),
        lambda: device.take_members(members, opened),
        lambda: device.take(page),
        lambda: device.take(log.events[since:]),
    ]
    for step in data.draw(st.permutations(steps)):
        step()
    check(device, log.at(head))


def test_a_superseded_edit_takes_no_text_away() -> None:
    """What came before stays until the edit that counts is there. Planted: its empty text shown."""
    message = parley.MessageEvent(
        channel_id=CHANNEL, seq=1, message_no=1, create_time_ms=0, actor_id=ME, text="first"
    )
    edit = parley.EditEvent(
        channel_id=CHANNEL, seq=2, message_no=1, create_time_ms=7, actor_id=ME, target_seq=1, text="second"
    )
    gone = replace(edit, text="", superseded=True)
    for told in ([message, gone], [gone, message]):
        found = timeline(*told).message(1)
        assert found is not None and (found.text, found.edit_seq, found.edit_time_ms) == ("first", 2, 7)
    for told in ([message, edit, gone], [gone, edit, message]):
        found = timeline(*told).message(1)
        assert found is not None and found.text == "second"


def test_gone_is_having_left_and_not_having_come_back() -> None:
    """Planted: the listing of before held against the event of leaving."""

    def change(seq: int, role: parley.Role) -> parley.MemberEvent:
        what = parley.MemberChange.ADDED if role else parley.MemberChange.REMOVED
        return parley.MemberEvent(
            channel_id=CHANNEL,
            seq=seq,
            message_no=0,
            create_time_ms=0,
            actor_id="u1",
            user_id=ME,
            change=what,
            role=role,
        )

    shown = timeline(change(2, parley.Role.MEMBER))
    assert not shown.gone
    shown.take_members([parley.Member(ME, parley.Role.MEMBER, 2, 0)], 2)
    shown.take(change(5, parley.Role.UNSPECIFIED))
    assert shown.gone and ME not in shown.members
    shown.take(change(9, parley.Role.ADMIN))
    assert not shown.gone and shown.members == {ME: parley.Role.ADMIN}


def test_what_is_forgotten_can_be_given_again() -> None:
    log = TimelineLog(ME)
    for seq in (1, 2, 3):
        log.events.append(
            parley.MessageEvent(
                channel_id=CHANNEL,
                seq=seq,
                message_no=seq,
                create_time_ms=0,
                actor_id=ME,
                text=str(seq),
                thread_root_seq=1 if seq > 1 else 0,
            )
        )
    shown = timeline(*log.events)
    assert [message.text for message in shown.thread(1)] == ["2", "3"]
    shown.forget_before(3)
    assert [message.seq for message in shown.messages()] == [3]
    assert shown.message(1) is None
    shown.take([log.served(1, 3), log.served(2, 3)])
    assert shown == timeline(*log.events)


def test_an_event_of_another_channel_is_refused() -> None:
    other = parley.DeleteEvent(
        channel_id="other", seq=1, message_no=0, create_time_ms=0, actor_id=ME, target_seq=1
    )
    with pytest.raises(ValueError, match="other"):
        parley.Timeline(CHANNEL, ME).take(other)
