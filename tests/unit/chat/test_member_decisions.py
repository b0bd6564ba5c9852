"""Running a group: the permission table, ownership, bans and invites."""

from __future__ import annotations

from typing import Any

import pytest

from parley_runtime.refusal import Refusal
from parley_server.chat.channel import decide
from parley_server.chat.channel_state import ChannelLimits, ChannelState, evolve
from parley_server.chat.command import (
    AddMembers,
    Command,
    CreateChannel,
    CreateInvite,
    DeleteChannel,
    Done,
    EraseAuthor,
    JoinByInvite,
    LeaveChannel,
    PostMessage,
    RemoveMember,
    RevokeInvite,
    SetBan,
    SetMemberRole,
    UpdateChannel,
)
from parley_server.chat.event import (
    AuthorErased,
    BanChanged,
    ChannelChanged,
    ChannelDeleted,
    ChannelKind,
    Event,
    HistoryVisibility,
    MemberChange,
    MemberChanged,
    Role,
)
from parley_server.chat.known_ids import KnownIds

NOW_MS = 1_760_000_000_000
DIGEST = b"d" * 32
DAY_MS = 24 * 3600 * 1000


def own_id(number: int) -> str:
    digits = f"{NOW_MS:012x}70008000{number:012x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def invite(
    actor_id: str, number: int = 1, *, uses: int = 0, expire_ms: int = NOW_MS + DAY_MS
) -> CreateInvite:
    return CreateInvite(actor_id, own_id(100 + number), DIGEST, f"i{number}", expire_ms, uses)


def do(state: ChannelState, command: Command, now_ms: int = NOW_MS) -> tuple[Event, ...]:
    events = decide(state, command, now_ms)
    assert isinstance(events, tuple), events
    for event in events:
        evolve(state, event)
    return events


def group(*members: str, limit: int = 10, limits: ChannelLimits | None = None) -> ChannelState:
    """ann owns it, cho is an admin if among the members."""
    state = ChannelState("c", KnownIds(1000), limits or ChannelLimits())
    visibility = HistoryVisibility.FROM_JOINING
    do(
        state,
        CreateChannel(
            "ann", ChannelKind.GROUP, "Us", ("ann", *members), visibility, limit, own_id(1), DIGEST
        ),
    )
    if "cho" in members:
        do(state, SetMemberRole("ann", "cho", Role.ADMIN))
    return state


def reason(answer: Any) -> str:
    match answer:
        case Refusal():
            return str(answer.reason.text)
        case Done():
            return "holds"
        case _:
            return "events"


ROLES = ("ann", "cho", "bob", "zoe")
"""Owner, admin, member, stranger."""

YES, ROLE, NO = "events", "ROLE_REQUIRED", "CHANNEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda actor: AddMembers(actor, ("new",)), (YES, YES, ROLE, NO)),
        (lambda actor: RemoveMember(actor, "eve"), (YES, YES, ROLE, NO)),
        (lambda actor: SetBan(actor, "eve", True), (YES, YES, ROLE, NO)),
        (lambda actor: SetBan(actor, "foe", False), (YES, YES, ROLE, NO)),
        (lambda actor: UpdateChannel(actor, title="We"), (YES, YES, ROLE, NO)),
        (lambda actor: UpdateChannel(actor, slow_mode_seconds=5), (YES, YES, ROLE, NO)),
        (invite, (YES, YES, ROLE, NO)),
        (lambda actor: RevokeInvite(actor, "i9"), (YES, YES, ROLE, NO)),
        (lambda actor: SetMemberRole(actor, "eve", Role.ADMIN), (YES, ROLE, ROLE, NO)),
        (lambda actor: SetMemberRole(actor, actor, Role.OWNER), ("holds", ROLE, ROLE, NO)),
        (DeleteChannel, (YES, ROLE, ROLE, NO)),
        (LeaveChannel, ("LAST_OWNER", YES, YES, NO)),
    ],
)
def test_the_permission_table(make: Any, expected: tuple[str, ...]) -> None:
    """Every right against every role. Planted once: with `>` for `>=` admins lost their rights."""
    for actor, wanted in zip(ROLES, expected, strict=True):
        state = group("bob", "cho", "eve")
        do(state, SetBan("ann", "foe", banned=True))
        do(state, invite("ann", 9))
        assert reason(decide(state, make(actor), NOW_MS)) == wanted, actor


@pytest.mark.parametrize(
    "command",
    [
        AddMembers("ann", ("cho",)),
        SetMemberRole("ann", "bob", Role.OWNER),
        SetBan("ann", "bob", True),
        UpdateChannel("ann", title="x"),
        DeleteChannel("ann"),
        invite("ann"),
    ],
)
def test_a_direct_channel_is_not_run_by_anybody(command: Command) -> None:
    """None of it exists between two."""
    state = ChannelState("c", KnownIds(10))
    visibility = HistoryVisibility.FROM_START
    do(state, CreateChannel("ann", ChannelKind.DIRECT, "", ("ann", "bob"), visibility, 2, "", b""))
    assert reason(decide(state, command, NOW_MS)) == "DIRECT_CHANNEL"


def test_admins_do_not_touch_their_like() -> None:
    """An admin neither removes nor bans an admin or owner; an owner neither removes nor bans an owner."""
    state = group("bob", "cho", "eve")
    do(state, SetMemberRole("ann", "eve", Role.ADMIN))
    do(state, SetMemberRole("ann", "bob", Role.OWNER))
    for actor, other in (("cho", "eve"), ("cho", "ann"), ("ann", "bob"), ("cho", "cho")):
        assert reason(decide(state, RemoveMember(actor, other), NOW_MS)) == "ROLE_REQUIRED"
        assert reason(decide(state, SetBan(actor, other, banned=True), NOW_MS)) == "ROLE_REQUIRED"


def test_there_is_always_an_owner() -> None:
    """The last one neither leaves nor steps down while others stay; with another owner both work."""
    state = group("bob")
    assert reason(decide(state, SetMemberRole("ann", "ann", Role.MEMBER), NOW_MS)) == "LAST_OWNER"
    assert reason(decide(state, LeaveChannel("ann"), NOW_MS)) == "LAST_OWNER"
    do(state, SetMemberRole("ann", "bob", Role.OWNER))
    do(state, SetMemberRole("ann", "ann", Role.MEMBER))
    assert state.roles == {"ann": Role.MEMBER, "bob": Role.OWNER}
    do(state, LeaveChannel("ann"))
    do(state, LeaveChannel("bob"))
    assert state.roles == {}


def test_roles_are_of_members() -> None:
    """Somebody outside gets no role, by nobody."""
    state = group("bob")
    assert reason(decide(state, SetMemberRole("ann", "zoe", Role.ADMIN), NOW_MS)) == "USER_NOT_FOUND"


def test_a_ban_removes_and_keeps_out() -> None:
    """First the ban, so that the banned user sees why, then the removal. Nothing leads around it."""
    state = group("bob")
    do(state, invite("ann"))
    events = do(state, SetBan("ann", "bob", banned=True))
    assert [event.body for event in events] == [
        BanChanged("bob", banned=True),
        MemberChanged("bob", MemberChange.REMOVED, None),
    ]
    assert reason(decide(state, AddMembers("ann", ("bob",)), NOW_MS)) == "USER_BANNED"
    assert reason(decide(state, JoinByInvite("bob", "i1"), NOW_MS)) == "INVITE_NOT_FOUND"
    assert reason(decide(state, SetBan("ann", "bob", banned=True), NOW_MS)) == "holds"
    do(state, SetBan("ann", "bob", banned=False))
    assert "bob" not in state.roles
    assert reason(decide(state, JoinByInvite("bob", "i1"), NOW_MS)) == "events"


def test_bans_are_bounded() -> None:
    """One more than may be is refused."""
    state = group(limits=ChannelLimits(bans=1))
    do(state, SetBan("ann", "x", banned=True))
    assert reason(decide(state, SetBan("ann", "y", banned=True), NOW_MS)) == "TOO_MANY_BANS"


def test_an_invite_takes_as_many_as_it_says() -> None:
    """Of a hundred who come with one for ten, ten join; who is in does not use it up again.

    Planted once: without counting in `evolve` all hundred joined.
    """
    state = group(limit=1000)
    do(state, invite("ann", uses=10))
    answers = []
    for number in range(100):
        answer = decide(state, JoinByInvite(f"u{number}", "i1"), NOW_MS)
        answers.append(reason(answer))
        if isinstance(answer, tuple):
            for event in answer:
                evolve(state, event)
        assert reason(decide(state, JoinByInvite("u0", "i1"), NOW_MS)) == "holds"
    assert answers == ["events"] * 10 + ["INVITE_NOT_FOUND"] * 90


def test_nobody_joins_a_group_that_everybody_left() -> None:
    """Whoever came in would be a member of a group without an owner, for ever.

    Planted once: without the rule both joined.
    """
    for last in (LeaveChannel("ann"), EraseAuthor("ann")):
        state = group()
        do(state, invite("ann"))
        for user_id in [user_id for user_id in state.roles if user_id != "ann"]:
            do(state, RemoveMember("ann", user_id))
        assert reason(decide(state, JoinByInvite("x", "i1"), NOW_MS)) == "events"
        do(state, last)
        assert not state.roles
        assert reason(decide(state, JoinByInvite("x", "i1"), NOW_MS)) == "INVITE_NOT_FOUND"


def test_invites_end() -> None:
    """By time, by revoking, with the channel; and no code was ever made for an unknown one."""
    state = group()
    do(state, invite("ann", 1, expire_ms=NOW_MS + 1000))
    assert reason(decide(state, JoinByInvite("x", "i1"), NOW_MS + 999)) == "events"
    assert reason(decide(state, JoinByInvite("x", "i1"), NOW_MS + 1000)) == "INVITE_NOT_FOUND"
    do(state, invite("ann", 2))
    do(state, RevokeInvite("ann", "i2"))
    assert reason(decide(state, JoinByInvite("x", "i2"), NOW_MS)) == "INVITE_NOT_FOUND"
    assert reason(decide(state, RevokeInvite("ann", "i2"), NOW_MS)) == "holds"
    assert reason(decide(state, JoinByInvite("x", "i3"), NOW_MS)) == "INVITE_NOT_FOUND"


def test_invites_are_bounded_and_repeatable() -> None:
    """The same id is the same invite; open ones count, others do not."""
    state = group(limits=ChannelLimits(invites=2))
    first = invite("ann", 1)
    do(state, first)
    assert reason(decide(state, first, NOW_MS)) == "holds"
    do(state, invite("ann", 2, expire_ms=NOW_MS + 10))
    assert reason(decide(state, invite("ann", 3), NOW_MS)) == "TOO_MANY_INVITES"
    assert reason(decide(state, invite("ann", 3), NOW_MS + 10)) == "events"


def test_an_invite_does_not_overfill() -> None:
    """A full channel says so."""
    state = group("bob", limit=2)
    do(state, invite("ann"))
    assert reason(decide(state, JoinByInvite("x", "i1"), NOW_MS)) == "CHANNEL_FULL"


def test_settings_change_together() -> None:
    """The event carries all settings; what is not named stays; what is so already is no event."""
    state = group()
    (event,) = do(state, UpdateChannel("ann", description="about", slow_mode_seconds=3))
    assert event.body == ChannelChanged(
        created=False,
        kind=ChannelKind.GROUP,
        title="Us",
        history_visibility=HistoryVisibility.FROM_JOINING,
        member_limit=10,
        description="about",
        slow_mode_seconds=3,
    )
    assert reason(decide(state, UpdateChannel("ann", description="about"), NOW_MS)) == "holds"


def test_a_deleted_channel_answers_as_none() -> None:
    """To everybody, the owner included; its making cannot be repeated either."""
    state = group("bob", "cho")
    do(state, invite("ann"))
    assert [event.body for event in do(state, DeleteChannel("ann"))] == [ChannelDeleted()]
    visibility = HistoryVisibility.FROM_JOINING
    for command in (
        PostMessage("ann", own_id(5), DIGEST, "x"),
        AddMembers("ann", ("x",)),
        JoinByInvite("x", "i1"),
        LeaveChannel("bob"),
        DeleteChannel("ann"),
        CreateChannel("ann", ChannelKind.GROUP, "Us", ("ann",), visibility, 10, own_id(1), DIGEST),
    ):
        assert reason(decide(state, command, NOW_MS)) == "CHANNEL_NOT_FOUND"
    assert reason(decide(state, EraseAuthor("ann"), NOW_MS)) == "holds"


def test_a_deleted_account_passes_ownership_on() -> None:
    """To the admin who stands longest, else to the member who does; never past another owner.

    Planted once: with roles sorted by user id, "amy", who came last, inherited.
    """
    state = group("dan", "bob", "cho")
    do(state, AddMembers("ann", ("amy",)))
    assert [event.body for event in do(state, EraseAuthor("ann"))] == [
        MemberChanged("cho", MemberChange.ROLE_CHANGED, Role.OWNER),
        MemberChanged("ann", MemberChange.LEFT, None),
        AuthorErased("ann"),
    ]
    assert do(state, EraseAuthor("cho"))[0].body == MemberChanged(
        "dan", MemberChange.ROLE_CHANGED, Role.OWNER
    )
    do(state, SetMemberRole("dan", "amy", Role.OWNER))
    assert [event.body for event in do(state, EraseAuthor("dan"))] == [
        MemberChanged("dan", MemberChange.LEFT, None),
        AuthorErased("dan"),
    ]
    do(state, RemoveMember("amy", "bob"))
    assert [event.body for event in do(state, EraseAuthor("bob"))] == [AuthorErased("bob")]
    do(state, EraseAuthor("amy"))
    assert state.roles == {}
