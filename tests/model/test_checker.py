"""The checker finds each kind of bad history, and nothing in a good one. All are written by hand."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from parley_runtime.refusal import Reason, Refusal
from parley_server.chat.codec import row_of
from parley_server.chat.command import AddMembers, Done, EditMessage, PostMessage, React
from parley_server.chat.event import (
    BanChanged,
    ChannelChanged,
    ChannelKind,
    Event,
    EventBody,
    HistoryVisibility,
    InviteChanged,
    MemberChange,
    MemberChanged,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PinChanged,
    ReactionChanged,
    Role,
)
from parley_server.testing.checker import Invariant, check
from parley_server.testing.model_history import (
    Answered,
    Appending,
    Applied,
    Asked,
    Erased,
    Failed,
    MarkedActive,
    MarkedFanned,
    Published,
    Read,
    Rested,
    Step,
    Stored,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TIME_MS = 1_760_000_000_000
MINUTE = TIME_MS // 60_000
ID = "0199c82c-c000-7000-8000-000000000001"


def event(seq: int, message_no: int, body: EventBody, actor_id: str = "ann", client_id: str = "") -> Event:
    digest = b"d" * 32 if client_id else b""
    return Event("c", seq, message_no, TIME_MS + seq, actor_id, client_id, digest, body)


MADE = (
    event(1, 0, ChannelChanged(True, ChannelKind.GROUP, "Us", HistoryVisibility.FROM_START, 3)),
    event(2, 0, MemberChanged("ann", MemberChange.ADDED, Role.OWNER)),
    event(3, 0, MemberChanged("bob", MemberChange.ADDED, Role.MEMBER)),
)
HELLO = event(4, 1, MessagePosted("hello"), "bob", ID)
SEND = PostMessage("bob", ID, b"d" * 32, "hello")
SENT = Done(4, 1, TIME_MS + 4, duplicate=False)
DELETED = event(5, 1, MessageDeleted(4), "bob")
EMPTY = replace(HELLO, body=MessagePosted(""))
LIKE = ReactionChanged(4, "a", True, 1)
PIN = PinChanged(4, True, "bob")
ADDED = MemberChanged("cho", MemberChange.ADDED, Role.MEMBER)
JOINED = replace(ADDED, invite_id="i")
INVITED = event(5, 1, InviteChanged("i", False, TIME_MS + 1000, 1))
MEMBERS = frozenset({"ann", "bob"})
LOG = tuple(row_of(each) for each in (*MADE, HELLO))
ROLES = {"ann": Role.OWNER, "bob": Role.MEMBER}
REFUSED = Refusal(Reason.CHANNEL_NOT_FOUND, "")


def good() -> list[Step]:
    """A channel is made and bob says hello."""
    return [
        MarkedActive(MINUTE),
        Appending(0, b"1", 0, LOG[:3], MINUTE),
        Stored(b"1", LOG[:3]),
        Applied(0, MADE, 3),
        Published(0, MEMBERS, MADE),
        MarkedFanned(3),
        Asked(0, 0, SEND),
        Appending(0, b"2", 3, LOG[3:], MINUTE),
        Stored(b"2", LOG),
        Applied(0, (HELLO,), 4),
        Published(0, MEMBERS, (HELLO,)),
        Answered(0, SENT),
        MarkedFanned(4),
        Read(LOG[1:], 4),
    ]


def rested(**changed: object) -> Rested:
    return dataclasses.replace(Rested(4, 1, ROLES, ()), **changed)  # type: ignore[arg-type]


def then(*steps: Step) -> list[Step]:
    return [*good(), *steps]


def without(*kinds: type, after: int = 6) -> list[Step]:
    """The good history, its second half without steps of these kinds."""
    return [step for place, step in enumerate(good()) if place < after or not isinstance(step, kinds)]


def stored_next(*events: Event, expected_head: int = 4) -> list[Step]:
    rows = tuple(row_of(each) for each in events)
    return then(Appending(1, b"3", expected_head, rows, MINUTE), Stored(b"3", LOG + rows))


def with_answer(outcome: Done | Refusal) -> list[Step]:
    return [Answered(0, outcome) if isinstance(step, Answered) else step for step in good()]


BAD: list[tuple[str, Callable[[], list[Step]], Invariant]] = [
    (
        "replaced",
        lambda: then(Stored(b"2", (*LOG[:3], replace(LOG[3], event=b"x")))),
        Invariant.ONE_CONTENT,
    ),
    ("shortened", lambda: then(Stored(b"2", LOG[:3])), Invariant.ONE_CONTENT),
    (
        "appended at an old head",
        lambda: stored_next(event(5, 2, MessagePosted("x"), "bob"), expected_head=3),
        Invariant.COMPARE,
    ),
    ("appended by nobody", lambda: [Stored(b"1", LOG[:3])], Invariant.COMPARE),
    ("answered before commit", lambda: without(Stored, Applied, Published), Invariant.COMMITTED),
    ("answered before projecting", lambda: without(Applied), Invariant.PROJECTED),
    (
        "never active",
        lambda: [step for step in good() if not isinstance(step, MarkedActive)],
        Invariant.ACTIVE,
    ),
    (
        "active in another minute",
        lambda: [MarkedActive(MINUTE - 1) if isinstance(step, MarkedActive) else step for step in good()],
        Invariant.ACTIVE,
    ),
    ("sent twice", lambda: stored_next(event(5, 2, MessagePosted("hello"), "bob", ID)), Invariant.ONE_SEQ),
    ("read beyond the head", lambda: then(Read(LOG, 5)), Invariant.PREFIX),
    ("read with a hole", lambda: then(Read((LOG[0], LOG[2]), 4)), Invariant.PREFIX),
    (
        "read other content",
        lambda: then(Read((replace(LOG[0], event=b"x"),), 4)),
        Invariant.PREFIX,
    ),
    ("fanned beyond the head", lambda: then(MarkedFanned(5)), Invariant.MARKS),
    ("announced before projecting", lambda: without(Applied), Invariant.MARKS),
    (
        "answered with another seq",
        lambda: with_answer(replace(SENT, seq=3)),
        Invariant.ANSWER_IS_ROW,
    ),
    (
        "answered with another number",
        lambda: with_answer(replace(SENT, message_no=2)),
        Invariant.ANSWER_IS_ROW,
    ),
    (
        "answered with another time",
        lambda: with_answer(replace(SENT, create_time_ms=1)),
        Invariant.ANSWER_IS_ROW,
    ),
    ("refused a member", lambda: with_answer(REFUSED), Invariant.ANSWER_IS_TRUE),
    (
        "called a first try a repeat",
        lambda: with_answer(replace(SENT, duplicate=True)),
        Invariant.ANSWER_IS_TRUE,
    ),
    (
        "said that an addition holds",
        lambda: then(
            Asked(1, 0, AddMembers("ann", ("cho",))),
            Answered(1, replace(SENT, duplicate=True)),
        ),
        Invariant.ANSWER_IS_TRUE,
    ),
    ("wrote as a stranger", lambda: stored_next(event(5, 2, MessagePosted("x"), "cho")), Invariant.PERMITTED),
    (
        "edited what another wrote",
        lambda: stored_next(event(5, 1, MessageEdited(4, "x"), "ann")),
        Invariant.PERMITTED,
    ),
    (
        "deleted by a mere member what another wrote",
        lambda: stored_next(event(5, 2, MessagePosted("x"), "ann"), event(6, 2, MessageDeleted(5), "bob")),
        Invariant.PERMITTED,
    ),
    (
        "changed what was deleted",
        lambda: stored_next(event(5, 1, MessageDeleted(4), "bob"), event(6, 1, MessageEdited(4, "x"), "bob")),
        Invariant.PERMITTED,
    ),
    ("pinned by a mere member", lambda: stored_next(event(5, 1, PIN, "bob")), Invariant.PERMITTED),
    (
        "reacted twice",
        lambda: stored_next(event(5, 1, LIKE, "ann"), event(6, 1, replace(LIKE, count=2), "ann")),
        Invariant.PERMITTED,
    ),
    (
        "counted one as two",
        lambda: stored_next(event(5, 1, replace(LIKE, count=2))),
        Invariant.COUNTED,
    ),
    (
        "a banned user was added",
        lambda: stored_next(event(5, 1, BanChanged("cho", True)), event(6, 1, ADDED)),
        Invariant.RULES,
    ),
    (
        "a banned member stayed",
        lambda: stored_next(event(5, 1, BanChanged("bob", True)), event(6, 2, MessagePosted("x"), "bob")),
        Invariant.RULES,
    ),
    (
        "joined by no invite",
        lambda: stored_next(event(5, 1, JOINED, "cho")),
        Invariant.INVITED,
    ),
    (
        "an invite for one was used twice",
        lambda: stored_next(
            INVITED,
            event(6, 1, JOINED, "cho"),
            event(7, 1, MemberChanged("cho", MemberChange.LEFT, None), "cho"),
            event(8, 1, JOINED, "cho"),
        ),
        Invariant.INVITED,
    ),
    (
        "joined too late",
        lambda: stored_next(event(5, 1, InviteChanged("i", False, TIME_MS, 0)), event(6, 1, JOINED, "cho")),
        Invariant.INVITED,
    ),
    ("emptied what stands", lambda: then(Erased(0, (row_of(EMPTY),))), Invariant.ERASED),
    (
        "emptied of its author",
        lambda: [*stored_next(DELETED), Erased(0, (row_of(replace(EMPTY, actor_id="ann")),))],
        Invariant.ERASED,
    ),
    (
        "left the deleted text there",
        lambda: [*stored_next(DELETED), rested(watermark=5, becomes={4: (True, {})})],
        Invariant.ERASED,
    ),
    ("projected a pin", lambda: then(rested(pins=frozenset({4}))), Invariant.DERIVED),
    ("projected a reaction", lambda: then(rested(becomes={4: (False, {"a": 1})})), Invariant.DERIVED),
    ("projected a ban", lambda: then(rested(banned=frozenset({"cho"}))), Invariant.DERIVED),
    (
        "projected no invite",
        lambda: [
            *stored_next(INVITED),
            rested(watermark=5),
        ],
        Invariant.DERIVED,
    ),
    (
        "said that a reaction holds",
        lambda: then(
            Asked(1, 0, React("bob", "", b"", 4, "a", True)),
            Answered(1, replace(SENT, duplicate=True)),
        ),
        Invariant.ANSWER_IS_TRUE,
    ),
    (
        "refused an author",
        lambda: then(
            Asked(1, 0, EditMessage("bob", ID, b"e", 4, "x")), Answered(1, Refusal(Reason.NOT_AUTHOR, ""))
        ),
        Invariant.ANSWER_IS_TRUE,
    ),
    ("counted wrongly", lambda: stored_next(event(5, 1, MessagePosted("x"), "bob")), Invariant.RULES),
    (
        "added by a mere member",
        lambda: stored_next(event(5, 1, MemberChanged("cho", MemberChange.ADDED, Role.MEMBER), "bob")),
        Invariant.RULES,
    ),
    (
        "added twice",
        lambda: stored_next(event(5, 1, MemberChanged("bob", MemberChange.ADDED, Role.MEMBER))),
        Invariant.RULES,
    ),
    (
        "removed the owner",
        lambda: stored_next(event(5, 1, MemberChanged("ann", MemberChange.REMOVED, None), "bob")),
        Invariant.RULES,
    ),
    (
        "the last owner left",
        lambda: stored_next(event(5, 1, MemberChanged("ann", MemberChange.LEFT, None))),
        Invariant.RULES,
    ),
    (
        "went back in time",
        lambda: stored_next(replace(event(5, 2, MessagePosted("x"), "bob"), create_time_ms=TIME_MS)),
        Invariant.TIME,
    ),
    (
        "projected what is not committed",
        lambda: then(Applied(0, (event(5, 2, MessagePosted("x"), "bob"),), 5)),
        Invariant.DERIVED,
    ),
    ("projections stayed behind", lambda: then(rested(watermark=3)), Invariant.DERIVED),
    ("projected other members", lambda: then(rested(roles={"ann": Role.OWNER})), Invariant.DERIVED),
    ("never announced", lambda: [*without(Published, MarkedFanned), rested()], Invariant.ANNOUNCED),
    ("marked and not announced", lambda: without(Published), Invariant.ANNOUNCED),
    (
        "announced to a stranger",
        lambda: then(Published(0, frozenset({"ann", "bob", "cho"}), (HELLO,))),
        Invariant.ANNOUNCED,
    ),
    (
        "announced what is not committed",
        lambda: then(Published(0, MEMBERS, (replace(HELLO, digest=b"x"),))),
        Invariant.ANNOUNCED,
    ),
    ("left without an answer", lambda: then(rested(unanswered=(1,))), Invariant.ANSWERED),
    ("an owner failed", lambda: then(Failed(0, "ValueError()")), Invariant.ANSWERED),
]


def test_a_good_history_has_no_fault() -> None:
    """A checker that cries wolf is switched off. Folding the roles without the creator fails this."""
    assert check(then(rested())) == []


def test_repeats_and_unknown_outcomes_are_good() -> None:
    """A repeat after an unknown outcome gets the first place; nothing about it is a fault."""
    unknown = Refusal(Reason.STORE_UNAVAILABLE, "")
    history = [
        *with_answer(unknown),
        Asked(1, 1, SEND),
        Answered(1, replace(SENT, duplicate=True)),
        rested(),
    ]
    assert check(history) == []


def test_changes_erased_at_last_are_good() -> None:
    """A message is edited, gets reactions and a pin, and is deleted and emptied; nothing of it is a fault."""
    events = (
        event(5, 1, MessageEdited(4, "bye"), "bob"),
        event(6, 1, LIKE, "ann"),
        event(7, 1, replace(LIKE, count=2), "bob"),
        event(8, 1, PIN, "ann"),
        event(9, 1, MessageDeleted(4), "bob"),
    )
    emptied = (EMPTY, replace(events[0], body=MessageEdited(4, "")))
    history = [
        *stored_next(*events),
        Applied(0, events, 9),
        Published(0, MEMBERS, events),
        Erased(0, tuple(row_of(each) for each in emptied)),
        Read((row_of(EMPTY),), 9),
        rested(watermark=9, becomes={4: (True, {})}),
    ]
    assert check(history) == []


@pytest.mark.parametrize(("make", "broken"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_a_bad_history_is_found(make: Callable[[], list[Step]], broken: Invariant) -> None:
    """Each invariant, broken by hand, is named. Removing the check behind any of them fails its line here."""
    assert broken in {violation.invariant for violation in check(make())}


def test_every_invariant_has_a_bad_history() -> None:
    """An invariant that nothing breaks is not checked at all."""
    assert {bad[2] for bad in BAD} == set(Invariant)
