"""The laws of a timeline, against a log that is replayed from its beginning for every question."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parley

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

ME = "u0"
USERS = [f"u{number}" for number in range(5)]
EMOJIS = ["👍", "한"]
CHANNEL = "c"


@dataclass
class Message:
    """A message of the reference, as of some moment."""

    event: parley.MessageEvent
    text: str
    edit_seq: int = 0
    edit_time_ms: int = 0
    delete_seq: int = 0
    pin_seq: int = 0
    reactions: dict[str, list[str]] = field(default_factory=dict)
    replies: list[int] = field(default_factory=list)
    touched: bool = False
    """Whether anything happened to it, also what was undone since: then it is served with a state."""


@dataclass
class World:
    """Everything up to some moment."""

    messages: dict[int, Message] = field(default_factory=dict)
    members: dict[str, parley.Role] = field(default_factory=dict)
    title: str = ""
    deleted: bool = False

    def apply(self, event: parley.Event) -> None:
        target = getattr(event, "target_seq", 0) or getattr(event, "thread_root_seq", 0)
        if target:
            self.messages[target].touched = True
        match event:
            case parley.MessageEvent():
                self.messages[event.seq] = Message(event, event.text)
                if event.thread_root_seq:
                    self.messages[event.thread_root_seq].replies.append(event.seq)
            case parley.EditEvent():
                message = self.messages[event.target_seq]
                message.text, message.edit_seq = event.text, event.seq
                message.edit_time_ms = event.create_time_ms
            case parley.DeleteEvent():
                self._bury(self.messages[event.target_seq], event.seq)
            case parley.ReactionEvent(emoji=emoji, added=added, actor_id=user):
                users = self.messages[event.target_seq].reactions.setdefault(emoji, [])
                (users.append if added else users.remove)(user)
                if not users:
                    del self.messages[event.target_seq].reactions[emoji]
            case parley.PinEvent():
                self.messages[event.target_seq].pin_seq = event.seq if event.pinned else 0
            case parley.AuthorErasedEvent():
                for message in self.messages.values():
                    if message.event.actor_id == event.user_id and not message.delete_seq:
                        self._bury(message, event.seq)
            case parley.MemberEvent():
                self.members.pop(event.user_id, None)
                if event.role is not parley.Role.UNSPECIFIED:
                    self.members[event.user_id] = event.role
            case parley.ChannelEvent():
                self.title = event.title
            case parley.ChannelDeletedEvent():
                self.deleted = True
            case _:
                raise AssertionError(event)

    @staticmethod
    def _bury(message: Message, seq: int) -> None:
        message.delete_seq, message.text, message.pin_seq = seq, "", 0
        message.touched = True
        message.reactions.clear()

    def pins(self) -> tuple[int, ...]:
        pinned = [message for message in self.messages.values() if message.pin_seq]
        return tuple(
            message.event.seq for message in sorted(pinned, key=lambda message: message.pin_seq, reverse=True)
        )


@dataclass
class Log:
    """The channel's events, and what a server serves of them at a moment (`as_of`, a seq)."""

    events: list[parley.Event] = field(default_factory=list)

    def at(self, as_of: int) -> World:
        world = World()
        for event in self.events[:as_of]:
            world.apply(event)
        return world

    def served(self, seq: int, as_of: int) -> parley.Event:
        """The event at `seq` as it is served once everything up to `as_of` has happened."""
        event = self.events[seq - 1]
        world = self.at(as_of)
        if isinstance(event, parley.EditEvent):
            target = world.messages[event.target_seq]
            stands = target.edit_seq == seq and not target.delete_seq
            return event if stands else replace(event, text="", superseded=True)
        if not isinstance(event, parley.MessageEvent) or not world.messages[seq].touched:
            return event
        message = world.messages[seq]
        state = parley.MessageState(
            as_of_seq=as_of,
            edit_seq=message.edit_seq,
            edit_time_ms=message.edit_time_ms,
            delete_seq=message.delete_seq,
            pin_seq=message.pin_seq,
            reactions=tuple(_reactions(message)),
            reply_count=len(message.replies),
            last_reply_seq=message.replies[-1] if message.replies else 0,
        )
        return replace(event, text=message.text, state=state)

    def served_range(self, first: int, last: int, as_of: int) -> list[parley.Event]:
        """As ListEvents: of a deleted channel only the end."""
        if isinstance(self.events[as_of - 1], parley.ChannelDeletedEvent):
            return [self.events[as_of - 1]] if last >= as_of else []
        return [self.served(seq, as_of) for seq in range(first, min(last, as_of) + 1)]

    def message_seqs(self) -> list[int]:
        return [event.seq for event in self.events if isinstance(event, parley.MessageEvent)]


def _reactions(message: Message) -> Iterable[parley.Reaction]:
    for emoji, users in message.reactions.items():
        yield parley.Reaction(emoji, len(users), ME in users, tuple(users[:10]))


class Writer:
    """Writes a log as a server could."""

    def __init__(self) -> None:
        self.log = Log()
        self.world = World()
        self.erased: set[str] = set()

    def write(self, made: type[parley.Event], actor: str, /, **fields: object) -> None:
        seq = len(self.log.events) + 1
        common = {"channel_id": CHANNEL, "seq": seq, "message_no": 0, "create_time_ms": 1000 + seq}
        event = made(**common, actor_id=actor, **fields)  # type: ignore[arg-type]
        self.log.events.append(event)
        self.world.apply(event)

    def entitle(self, actor: str, title: str) -> None:
        self.write(
            parley.ChannelEvent,
            actor,
            created=not self.log.events,
            kind=parley.ChannelKind.GROUP,
            title=title,
            history_visibility=parley.HistoryVisibility.FROM_START,
            member_limit=100,
        )

    def member(self, user: str, role: parley.Role) -> None:
        change = parley.MemberChange.ADDED if role else parley.MemberChange.REMOVED
        self.write(parley.MemberEvent, ME, user_id=user, change=change, role=role)

    def post(self, user: str, target: int, number: int) -> None:
        message = self.world.messages.get(target)
        alive = message is not None and not message.delete_seq
        nested = message is not None and message.event.thread_root_seq > 0
        self.write(
            parley.MessageEvent,
            user,
            text=f"text {len(self.log.events)}",
            thread_root_seq=target if alive and not nested and number % 3 == 0 else 0,
            reply_to_seq=target if alive and number % 3 == 1 else 0,
        )

    def change(self, kind: str, user: str, target: int, emoji: str) -> None:
        message = self.world.messages.get(target)
        if message is None or message.delete_seq:
            return
        author_id = message.event.actor_id
        if kind == "edit":
            self.write(parley.EditEvent, author_id, target_seq=target, text=f"edit {len(self.log.events)}")
        elif kind == "delete":
            self.write(parley.DeleteEvent, user, target_seq=target)
        elif kind == "pin":
            pinned = not message.pin_seq
            self.write(parley.PinEvent, user, target_seq=target, pinned=pinned, author_id=author_id)
        elif kind == "react":
            users = message.reactions.get(emoji, [])
            added = user not in users
            count = len(users) + (1 if added else -1)
            self.write(parley.ReactionEvent, user, target_seq=target, emoji=emoji, added=added, count=count)


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """A channel's log."""
    kinds = ["post"] * 4 + ["edit"] * 3 + ["react"] * 4 + ["delete", "pin", "pin", "member", "title", "erase"]
    users = st.sampled_from(USERS)
    step = st.tuples(st.sampled_from(kinds), st.integers(0, 2), users, st.sampled_from(EMOJIS))
    writer = Writer()
    writer.entitle(ME, "t")
    writer.member(ME, parley.Role.OWNER)
    writer.post(USERS[1], 0, 0)
    for kind, place, user, emoji in draw(st.lists(step, min_size=16, max_size=40)):
        if user in writer.erased:
            continue
        seqs = list(writer.world.messages)
        target = seqs[-1 - place] if place < len(seqs) else 0
        if kind == "post":
            writer.post(user, target, place)
        elif kind == "member" and user != ME:
            writer.member(user, parley.Role(place))
        elif kind == "title":
            writer.entitle(user, f"title {place}")
        elif kind == "erase" and not place:
            writer.write(parley.AuthorErasedEvent, user, user_id=user)
            writer.erased.add(user)
        else:
            writer.change(kind, user, target, emoji)
    if draw(st.integers(0, 19)) == 0:
        writer.write(parley.ChannelDeletedEvent, ME)
    return writer.log


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
            reactions=tuple(_reactions(message)),
            reply_count=len(message.replies),
            last_reply_seq=message.replies[-1] if message.replies else 0,
        )
        assert (found.edited, found.deleted) == (message.edit_seq > 0, message.delete_seq > 0)


@given(logs())
@settings(max_examples=60, deadline=None)
def test_live_and_history_show_what_happened(log: Log) -> None:
    """After every event, live and by one range. Planted: an emoji that came back kept its old place."""
    live, world = parley.Timeline(CHANNEL, ME), World()
    for event in log.events:
        live.take(event)
        world.apply(event)
        check(live, world)
    history = timeline(*log.served_range(1, len(log.events), len(log.events)))
    assert history == live


@given(logs(), st.randoms(use_true_random=True))
@settings(max_examples=120, deadline=None)
def test_the_order_of_arrival_and_repetition_do_not_matter(log: Log, random: Random) -> None:
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


@given(logs(), st.randoms(use_true_random=True))
@settings(max_examples=120, deadline=None)
def test_a_state_that_was_served_holds_for_everything_before_it(log: Log, random: Random) -> None:
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


@given(logs(), st.data())
@settings(max_examples=120, deadline=None)
def test_a_device_that_was_away_ends_where_the_others_are(log: Log, data: st.DataObject) -> None:
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


@given(logs(), st.data())
@settings(max_examples=60, deadline=None)
def test_pages_of_messages_and_what_happens_after_them(log: Log, data: st.DataObject) -> None:
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
    log = Log()
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
