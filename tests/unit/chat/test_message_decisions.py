"""Changing and answering messages: who may, what it becomes, and how a repeat is answered."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from parley_runtime.refusal import Refusal
from parley_server.chat.channel import decide
from parley_server.chat.channel_state import ChannelLimits, ChannelState, Target, evolve
from parley_server.chat.command import (
    Command,
    CreateChannel,
    DeleteMessage,
    Done,
    EditMessage,
    EraseAuthor,
    Pin,
    PostMessage,
    React,
)
from parley_server.chat.event import (
    ChannelKind,
    Event,
    HistoryVisibility,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReactionChanged,
    Role,
)
from parley_server.chat.known_ids import KnownIds

NOW_MS = 1_760_000_000_000
DIGEST = b"d" * 32
LIMITS = ChannelLimits(edit_window_seconds=60, emojis_per_message=3, emojis_per_user_and_message=2, pins=2)

_numbers = iter(range(1, 1 << 30))


def new_id(time_ms: int = NOW_MS) -> str:
    digits = f"{time_ms:012x}70008000{next(_numbers):012x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def post(actor_id: str, text: str = "hello", **more: Any) -> PostMessage:
    return PostMessage(actor_id, new_id(), text.encode().ljust(32), text, **more)


def edit(actor_id: str, seq: int, text: str = "better", **more: Any) -> EditMessage:
    return EditMessage(actor_id, new_id(), f"edit {seq} {text}".encode().ljust(32), seq, text, **more)


def delete(actor_id: str, seq: int) -> DeleteMessage:
    return DeleteMessage(actor_id, new_id(), f"delete {seq}".encode().ljust(32), seq)


def react(actor_id: str, seq: int, emoji: str = "👍", *, added: bool = True) -> React:
    return React(actor_id, new_id(), f"{seq} {emoji} {added}".encode().ljust(32), seq, emoji, added)


def pin(actor_id: str, seq: int, *, pinned: bool = True) -> Pin:
    return Pin(actor_id, new_id(), f"pin {seq} {pinned}".encode().ljust(32), seq, pinned)


class World:
    """A channel of ann (owner), cho (admin), bob and eve (members), in which targets are always known."""

    def __init__(self, kind: ChannelKind = ChannelKind.GROUP) -> None:
        self.state = ChannelState("c", KnownIds(1000), LIMITS)
        self.log: list[Event] = []
        group = kind is ChannelKind.GROUP
        members = ("ann", "bob", "cho", "eve") if group else ("ann", "bob")
        create = CreateChannel(
            "ann",
            kind,
            "Us" if group else "",
            members,
            HistoryVisibility.FROM_JOINING,
            10,
            new_id() if group else "",
            DIGEST if group else b"",
        )
        self.do(create)
        if group:
            self.state.roles["cho"] = Role.ADMIN

    def learn(self, command: Command) -> None:
        for seq in range(1, self.state.head + 1):
            body = self.log[seq - 1].body
            if isinstance(body, MessagePosted) and seq not in self.state.targets:
                event = self.log[seq - 1]
                self.state.targets[seq] = Target(event.actor_id, event.create_time_ms, body.thread_root_seq)
        for target in self.state.targets.values():
            if target is not None:
                target.own.setdefault(command.actor_id, set())

    def ask(self, command: Command, now_ms: int = NOW_MS) -> Any:
        self.learn(command)
        return decide(self.state, command, now_ms)

    def do(self, command: Command, now_ms: int = NOW_MS) -> tuple[Event, ...]:
        events = self.ask(command, now_ms)
        assert isinstance(events, tuple), events
        for event in events:
            evolve(self.state, event)
        self.log.extend(events)
        return events

    def say(self, actor_id: str = "bob", **more: Any) -> int:
        return self.do(post(actor_id, **more))[0].seq


def reason(answer: Any) -> str:
    match answer:
        case Refusal():
            return str(answer.reason.text)
        case Done():
            return "holds"
        case _:
            return "events"


@pytest.mark.parametrize(
    ("actor", "make", "expected"),
    [
        ("bob", edit, "events"),
        ("ann", edit, "NOT_AUTHOR"),
        ("cho", edit, "NOT_AUTHOR"),
        ("eve", edit, "NOT_AUTHOR"),
        ("zoe", edit, "CHANNEL_NOT_FOUND"),
        ("bob", delete, "events"),
        ("ann", delete, "events"),
        ("cho", delete, "events"),
        ("eve", delete, "ROLE_REQUIRED"),
        ("zoe", delete, "CHANNEL_NOT_FOUND"),
        ("eve", react, "events"),
        ("zoe", react, "CHANNEL_NOT_FOUND"),
        ("ann", pin, "events"),
        ("cho", pin, "events"),
        ("bob", pin, "ROLE_REQUIRED"),
        ("zoe", pin, "CHANNEL_NOT_FOUND"),
    ],
)
def test_who_may_change_a_message_of_bob(actor: str, make: Any, expected: str) -> None:
    """The permission table, cell by cell, in a group. Planted once: an edit without asking for its author."""
    world = World()
    seq = world.say("bob")
    assert reason(world.ask(make(actor, seq))) == expected


@pytest.mark.parametrize(
    ("actor", "make", "expected"),
    [
        ("ann", delete, "NOT_AUTHOR"),
        ("bob", delete, "events"),
        ("ann", pin, "events"),
        ("bob", pin, "events"),
        ("ann", edit, "NOT_AUTHOR"),
    ],
)
def test_who_may_change_a_message_of_bob_between_two(actor: str, make: Any, expected: str) -> None:
    """In a direct channel nobody takes back what the other said, and both may pin."""
    world = World(ChannelKind.DIRECT)
    seq = world.say("bob")
    assert reason(world.ask(make(actor, seq))) == expected


@pytest.mark.parametrize("make", [edit, delete, react, pin])
def test_there_must_be_a_message(make: Any) -> None:
    """A seq without a message, one of another kind of event and one that is not written yet: one answer."""
    world = World()
    world.say()
    for seq in (1, 2, world.state.head + 1, 999):
        assert reason(world.ask(make("ann", seq))) == "MESSAGE_NOT_FOUND"


def test_nothing_can_be_done_with_a_tombstone() -> None:
    """Deleting again holds; everything else is refused. Planted once: a reaction came back to a tombstone."""
    world = World()
    seq = world.say("bob")
    world.do(delete("bob", seq))
    assert reason(world.ask(delete("bob", seq))) == "holds"
    for command in (
        edit("bob", seq),
        react("eve", seq),
        pin("ann", seq),
        post("eve", reply_to_seq=seq),
        post("eve", thread_root_seq=seq),
    ):
        assert reason(world.ask(command)) == "MESSAGE_DELETED"


@pytest.mark.parametrize("make", [edit, delete, react, pin])
def test_a_repeat_is_answered_as_the_first_try(make: Any) -> None:
    """Same id and content: the first place, even after the sender went; other content: refused."""
    world = World()
    seq = world.say("ann")
    command = make("ann", seq)
    (event,) = world.do(command)
    world.do(delete("ann", seq)) if make is not delete else None
    del world.state.roles["ann"]
    again = world.ask(command)
    assert isinstance(again, Done)
    assert (again.seq, again.duplicate) == (event.seq, True)
    assert reason(world.ask(replace(command, digest=b"other".ljust(32)))) == "CLIENT_ID_REUSED"


def test_an_edit_comes_too_late() -> None:
    """In the window's last millisecond it is taken, after it refused: by the server's time, not the id's."""
    world = World()
    seq = world.say("bob")
    assert reason(world.ask(edit("bob", seq), NOW_MS + 60_000)) == "events"
    assert reason(world.ask(edit("bob", seq), NOW_MS + 60_001)) == "EDIT_WINDOW_OVER"
    world.state.limits = ChannelLimits()
    assert reason(world.ask(edit("bob", seq), NOW_MS + 10**9)) == "events"


def test_an_edit_carries_the_new_content() -> None:
    """Text, attributes and mentions are replaced together; mentions of strangers go."""
    world = World()
    seq = world.say("bob")
    (event,) = world.do(edit("bob", seq, attributes=(("k", "v"),), mentions=("ann", "zoe")))
    assert event.body == MessageEdited(seq, "better", (("k", "v"),), ("ann",))
    assert event.message_no == 1


def test_threads_have_one_level() -> None:
    """A message of a thread cannot be the root of another; it can be answered."""
    world = World()
    root = world.say()
    answer = world.say(thread_root_seq=root)
    refusal = world.ask(post("ann", thread_root_seq=answer))
    assert reason(refusal) == "NESTED_THREAD"
    assert refusal.metadata == {"thread_root_seq": str(root)}
    assert reason(world.ask(post("ann", thread_root_seq=root, reply_to_seq=answer))) == "events"
    for missing in (1, 999):
        assert reason(world.ask(post("ann", thread_root_seq=missing))) == "MESSAGE_NOT_FOUND"
        assert reason(world.ask(post("ann", reply_to_seq=missing))) == "MESSAGE_NOT_FOUND"


def test_calling_everybody_needs_a_role() -> None:
    """Admins in a group, both in a direct channel; by edit as well as by post."""
    world = World()
    seq = world.say("bob")
    assert reason(world.ask(post("bob", mention_all=True))) == "ROLE_REQUIRED"
    assert reason(world.ask(edit("bob", seq, mention_all=True))) == "ROLE_REQUIRED"
    assert reason(world.ask(post("cho", mention_all=True))) == "events"
    assert reason(World(ChannelKind.DIRECT).ask(post("bob", mention_all=True))) == "events"


def test_reactions_are_counted_and_bounded() -> None:
    """Each user counts once per emoji; the count comes with the event; both limits hold; taking off frees.

    Planted once: with `>` for `>=` a fourth emoji came in.
    """
    world = World()
    seq = world.say("bob")
    assert world.do(react("ann", seq))[0].body == ReactionChanged(seq, "👍", True, 1)
    assert world.do(react("eve", seq))[0].body == ReactionChanged(seq, "👍", True, 2)
    assert reason(world.ask(react("ann", seq))) == "holds"
    assert reason(world.ask(react("bob", seq, added=False))) == "holds"
    world.do(react("ann", seq, "🎉"))
    assert reason(world.ask(react("ann", seq, "😀"))) == "TOO_MANY_REACTIONS"
    world.do(react("cho", seq, "😀"))
    assert reason(world.ask(react("cho", seq, "🙃"))) == "TOO_MANY_REACTIONS"
    assert reason(world.ask(react("cho", seq, "🎉"))) == "events"
    assert world.do(react("ann", seq, added=False))[0].body == ReactionChanged(seq, "👍", False, 1)
    assert world.do(react("eve", seq, added=False))[0].body == ReactionChanged(seq, "👍", False, 0)
    assert reason(world.ask(react("eve", seq, "🙃"))) == "events"


def test_pins_are_bounded() -> None:
    """The limit holds; pinning again holds already; deleting a pinned message frees its place."""
    world = World()
    seqs = [world.say("bob") for _ in range(3)]
    world.do(pin("ann", seqs[0]))
    world.do(pin("ann", seqs[1]))
    assert reason(world.ask(pin("ann", seqs[2]))) == "TOO_MANY_PINS"
    assert reason(world.ask(pin("ann", seqs[1]))) == "holds"
    assert reason(world.ask(pin("ann", seqs[2], pinned=False))) == "holds"
    assert world.do(delete("bob", seqs[0]))[0].body == MessageDeleted(seqs[0])
    world.do(pin("ann", seqs[2]))
    world.do(pin("ann", seqs[2], pinned=False))
    assert set(world.state.pins) == {seqs[1]}


def test_slow_mode_holds_members_back() -> None:
    """One message per period for members, none held back above; the refusal says how long to wait."""
    world = World()
    world.state.slow_mode_seconds = 10
    world.say("bob")
    refusal = world.ask(post("bob"), NOW_MS + 4_000)
    assert (reason(refusal), refusal.retry_after_seconds) == ("SLOW_MODE", 6.0)
    assert reason(world.ask(post("eve"), NOW_MS + 4_000)) == "events"
    assert reason(world.ask(post("bob"), NOW_MS + 10_000)) == "events"
    world.say("cho")
    assert reason(world.ask(post("cho"))) == "events"


def test_an_erased_author_leaves_tombstones() -> None:
    """What the user wrote cannot be changed any more, and its pins go; others' messages stay."""
    world = World()
    gone, kept = world.say("bob"), world.say("eve")
    world.do(pin("ann", gone))
    world.do(pin("ann", kept))
    world.do(EraseAuthor("bob"))
    assert set(world.state.pins) == {kept}
    assert reason(world.ask(react("eve", gone))) == "MESSAGE_DELETED"
    assert reason(world.ask(react("ann", kept))) == "events"
    assert reason(world.ask(EraseAuthor("bob"))) == "holds"


def test_nobody_writes_to_a_deleted_account() -> None:
    """The other user of a direct channel whose account went."""
    world = World(ChannelKind.DIRECT)
    world.say("ann")
    world.do(EraseAuthor("bob"))
    assert reason(world.ask(post("ann"))) == "USER_DELETED"
