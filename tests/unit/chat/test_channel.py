"""A channel's rules: who may do what, which seq it gets, and that a repeat is answered as the first try."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_runtime.refusal import Reason, Refusal
from parley_server.chat.channel import decide
from parley_server.chat.channel_state import ChannelState, evolve
from parley_server.chat.client_id import AHEAD_LIMIT_MS
from parley_server.chat.command import (
    AddMembers,
    Command,
    CreateChannel,
    Done,
    LeaveChannel,
    PostMessage,
    RemoveMember,
)
from parley_server.chat.event import (
    ChannelChanged,
    ChannelKind,
    Event,
    HistoryVisibility,
    MemberChange,
    MemberChanged,
    MessagePosted,
    Role,
)
from parley_server.chat.known_ids import KnownIds, Sent

NOW_MS = 1_760_000_000_000
DIGEST = b"d" * 32


def own_id(number: int, time_ms: int = NOW_MS) -> str:
    digits = f"{time_ms:012x}70008000{number:012x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def create(*members: str, kind: ChannelKind = ChannelKind.GROUP, limit: int = 4) -> CreateChannel:
    is_group = kind is ChannelKind.GROUP
    return CreateChannel(
        actor_id="ann",
        kind=kind,
        title="Us" if is_group else "",
        member_ids=("ann", *members),
        history_visibility=HistoryVisibility.FROM_JOINING,
        member_limit=limit,
        client_channel_id=own_id(1) if is_group else "",
        digest=DIGEST if is_group else b"",
    )


def post(actor_id: str, number: int, text: str = "hello", time_ms: int = NOW_MS) -> PostMessage:
    return PostMessage(actor_id, own_id(number, time_ms), text.encode().ljust(32), text)


def fresh() -> ChannelState:
    return ChannelState("c", KnownIds(1000))


def do(state: ChannelState, command: Command, now_ms: int = NOW_MS) -> tuple[Event, ...]:
    events = decide(state, command, now_ms)
    assert isinstance(events, tuple), events
    for event in events:
        evolve(state, event)
    return events


def made(*members: str, kind: ChannelKind = ChannelKind.GROUP, **roles: Role) -> ChannelState:
    state = fresh()
    do(state, create(*members, kind=kind))
    # There is no command yet that makes an admin; the rules have them.
    state.roles.update(roles)
    return state


def reason(answer: Any) -> str:
    match answer:
        case Refusal():
            return str(answer.reason.text)
        case Done():
            return "holds"
        case _:
            return "events"


OWNER, ADMIN, MEMBER = Role.OWNER, Role.ADMIN, Role.MEMBER


@pytest.mark.parametrize(
    ("actor", "command", "expected"),
    [
        ("ann", lambda actor: post(actor, 9), "events"),
        ("bob", lambda actor: post(actor, 9), "events"),
        ("dai", lambda actor: post(actor, 9), "CHANNEL_NOT_FOUND"),
        ("ann", lambda actor: AddMembers(actor, ("dai",)), "events"),
        ("cho", lambda actor: AddMembers(actor, ("dai",)), "events"),
        ("bob", lambda actor: AddMembers(actor, ("dai",)), "ROLE_REQUIRED"),
        ("dai", lambda actor: AddMembers(actor, ("eve",)), "CHANNEL_NOT_FOUND"),
        ("ann", lambda actor: AddMembers(actor, ("dai", "eve")), "CHANNEL_FULL"),
        ("ann", lambda actor: AddMembers(actor, ("bob", "cho")), "holds"),
        ("bob", lambda actor: AddMembers(actor, ("cho",)), "ROLE_REQUIRED"),
        ("ann", lambda actor: RemoveMember(actor, "bob"), "events"),
        ("ann", lambda actor: RemoveMember(actor, "cho"), "events"),
        ("cho", lambda actor: RemoveMember(actor, "bob"), "events"),
        ("cho", lambda actor: RemoveMember(actor, "ann"), "ROLE_REQUIRED"),
        ("cho", lambda actor: RemoveMember(actor, "cho"), "ROLE_REQUIRED"),
        ("bob", lambda actor: RemoveMember(actor, "cho"), "ROLE_REQUIRED"),
        ("bob", lambda actor: RemoveMember(actor, "bob"), "ROLE_REQUIRED"),
        ("ann", lambda actor: RemoveMember(actor, "dai"), "holds"),
        ("dai", lambda actor: RemoveMember(actor, "dai"), "CHANNEL_NOT_FOUND"),
        ("ann", LeaveChannel, "LAST_OWNER"),
        ("bob", LeaveChannel, "events"),
        ("cho", LeaveChannel, "events"),
        ("dai", LeaveChannel, "CHANNEL_NOT_FOUND"),
    ],
)
def test_permissions_in_a_group(actor: str, command: Any, expected: str) -> None:
    """Owner ann, admin cho, member bob, room for one; dai is a stranger. `>` for `>=` at any role fails."""
    state = made("bob", "cho", cho=ADMIN)
    before = dict(state.roles), state.head
    assert reason(decide(state, command(actor), NOW_MS)) == expected
    assert (dict(state.roles), state.head) == before, "decide changes nothing"


@pytest.mark.parametrize(
    ("actor", "command", "expected"),
    [
        ("ann", lambda actor: post(actor, 9), "events"),
        ("bob", lambda actor: AddMembers(actor, ("dai",)), "DIRECT_CHANNEL"),
        ("ann", lambda actor: RemoveMember(actor, "bob"), "DIRECT_CHANNEL"),
        ("ann", LeaveChannel, "DIRECT_CHANNEL"),
        ("dai", LeaveChannel, "CHANNEL_NOT_FOUND"),
        ("dai", lambda actor: AddMembers(actor, ("eve",)), "CHANNEL_NOT_FOUND"),
    ],
)
def test_a_direct_channel_stays_as_it_is(actor: str, command: Any, expected: str) -> None:
    """Strangers learn nothing, not even that it is direct. Asking for the kind first fails the last two."""
    state = made("bob", kind=ChannelKind.DIRECT)
    assert reason(decide(state, command(actor), NOW_MS)) == expected


def test_strangers_get_one_answer() -> None:
    """Equal to the letter for a channel that exists and one that does not."""
    unknown, foreign = decide(fresh(), post("dai", 9), NOW_MS), decide(made("bob"), post("dai", 9), NOW_MS)
    assert unknown == foreign


def test_making_a_group() -> None:
    """First the settings with the client's id, then the creator as owner, then each other once."""
    state = fresh()
    events = do(state, create("bob", "ann", "cho"))
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert events[0].body == ChannelChanged(True, ChannelKind.GROUP, "Us", HistoryVisibility.FROM_JOINING, 4)
    assert [event.client_message_id for event in events] == [own_id(1), "", "", ""]
    assert [event.body.user_id for event in events if isinstance(event.body, MemberChanged)] == [
        "ann",
        "bob",
        "cho",
    ]
    assert state.roles == {"ann": OWNER, "bob": MEMBER, "cho": MEMBER}
    assert state.message_no == 0


def test_making_it_again() -> None:
    """The same request holds already; other content under the same id is refused; a full one never began."""
    state = made("bob")
    do(state, post("bob", 5))
    assert decide(state, create("bob"), NOW_MS) == Done(4, 1, NOW_MS, duplicate=True)
    other = CreateChannel(**{**_fields(create("bob")), "digest": b"e" * 32})
    assert reason(decide(state, other, NOW_MS)) == "CLIENT_ID_REUSED"
    assert reason(decide(fresh(), create("bob", "cho", limit=2), NOW_MS)) == "CHANNEL_FULL"


def _fields(command: CreateChannel) -> dict[str, Any]:
    return {name: getattr(command, name) for name in CreateChannel.__struct_fields__}


def test_a_repeat_gets_the_first_place() -> None:
    """Also when the sender was removed since, and with the time of the first try. Asking for membership first
    fails.
    """
    state = made("bob")
    (first,) = do(state, post("bob", 5))
    do(state, RemoveMember("ann", "bob"))
    again = decide(state, post("bob", 5), NOW_MS + 60_000)
    assert again == Done(first.seq, first.message_no, first.create_time_ms, duplicate=True)
    assert reason(decide(state, post("bob", 5, "other"), NOW_MS)) == "CLIENT_ID_REUSED"
    assert reason(decide(state, post("ann", 5, "other"), NOW_MS)) == "events", "another sender's own id"


def test_a_repeat_found_in_the_log() -> None:
    """What the state has forgotten is answered from what was looked up."""
    state = made("bob")
    sent = Sent(3, 1, NOW_MS - 5, b"hello".ljust(32))
    assert decide(state, post("bob", 5), NOW_MS, sent) == Done(3, 1, NOW_MS - 5, duplicate=True)
    assert reason(decide(state, post("bob", 5, "other"), NOW_MS, sent)) == "CLIENT_ID_REUSED"


def test_time_does_not_go_back() -> None:
    """Whatever the clock does. Taking `now_ms` as it is fails."""
    state = made("bob")
    (later,) = do(state, post("bob", 5), NOW_MS + 100)
    (earlier,) = do(state, post("bob", 6), NOW_MS - 100)
    assert earlier.create_time_ms == later.create_time_ms


def test_an_id_may_be_dated_one_hour_after_its_event_and_no_more() -> None:
    """The search for older ids rests on it, and the clock may be set back after the request was checked."""
    state = made("bob")
    assert reason(decide(state, post("bob", 5, time_ms=NOW_MS + AHEAD_LIMIT_MS), NOW_MS)) == "events"
    ahead = post("bob", 6, time_ms=NOW_MS + AHEAD_LIMIT_MS + 1)
    assert reason(decide(state, ahead, NOW_MS)) == Reason.INVALID_FIELD.text
    assert reason(decide(state, ahead, NOW_MS + 1)) == "events"


def test_events_must_follow_one_another() -> None:
    """A state never jumps: folding an event twice, or the one after the next, is an error."""
    state = made("bob")
    (event,) = do(state, post("bob", 5))
    with pytest.raises(ValueError, match="does not follow"):
        evolve(state, event)


def test_the_last_one_may_go() -> None:
    """An owner alone leaves an empty group; nobody is in it then, and nobody may write."""
    state = made("bob")
    do(state, RemoveMember("ann", "bob"))
    do(state, LeaveChannel("ann"))
    assert state.roles == {}
    assert reason(decide(state, post("ann", 5), NOW_MS)) == "CHANNEL_NOT_FOUND"


class TestKnownIds:
    def test_nothing_is_forgotten_before_shrinking(self) -> None:
        """A batch is decided with what was known when its ids were looked up. Forgetting in `add` fails."""
        known = KnownIds(2)
        for number in range(5):
            known.add("ann", own_id(number, NOW_MS + number), Sent(number, 1, 1, DIGEST))
        assert all(known.find("ann", own_id(number, NOW_MS + number)) for number in range(5))
        assert not known.may_be_older("ann", own_id(7, NOW_MS))
        known.shrink()
        assert [bool(known.find("ann", own_id(number, NOW_MS + number))) for number in range(5)] == [
            False,
            False,
            False,
            True,
            True,
        ]
        assert known.may_be_older("ann", own_id(2, NOW_MS + 2))
        assert known.may_be_older("bob", own_id(4, NOW_MS + 2))
        assert not known.may_be_older("ann", own_id(4, NOW_MS + 3))
        assert not known.may_be_older("ann", own_id(4, NOW_MS + 4))

    @given(st.lists(st.integers(0, 50), unique=True), st.integers(1, 5))
    def test_what_is_forgotten_may_be_older(self, times: list[int], limit: int) -> None:
        """No forgotten id is ever taken for new, in whatever order ids are dated."""
        known = KnownIds(limit)
        for place, time_ms in enumerate(times):
            known.add("ann", own_id(place, NOW_MS + time_ms), Sent(place, 1, 1, DIGEST))
            known.shrink()
        for place, time_ms in enumerate(times):
            client_id = own_id(place, NOW_MS + time_ms)
            assert known.find("ann", client_id) or known.may_be_older("ann", client_id)


USERS = st.sampled_from(["ann", "bob", "cho", "dai", "eve"])
COMMANDS = st.lists(
    st.one_of(
        st.builds(post, USERS, st.integers(10, 20), st.sampled_from(["a", "b"])),
        st.builds(post, USERS, st.integers(10, 20)),
        st.builds(AddMembers, USERS, st.lists(USERS, min_size=1, max_size=3).map(tuple)),
        st.builds(AddMembers, st.just("ann"), st.lists(USERS, min_size=1, max_size=3).map(tuple)),
        st.builds(RemoveMember, st.just("ann") | USERS, USERS),
        st.builds(LeaveChannel, USERS),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(COMMANDS, st.lists(st.integers(-1000, 1000), min_size=40, max_size=40))
def test_any_commands_against_a_plain_model(commands: list[Command], clock: list[int]) -> None:
    """Members as a set, messages as a list, ids as a table: the state and the answers agree with them."""
    state = made("bob")
    members, numbers, table = {"ann", "bob"}, 0, dict[tuple[str, str], tuple[str, int]]()
    seq, time_ms = 3, 0
    for command, offset_ms in zip(commands, clock, strict=False):
        answer = decide(state, command, NOW_MS + offset_ms)
        if not isinstance(answer, tuple):
            assert state.head == seq
            if isinstance(command, PostMessage) and (
                found := table.get((command.actor_id, command.client_message_id))
            ):
                if isinstance(answer, Done):
                    assert (command.text, answer.seq) == found
                else:
                    assert answer.reason is Reason.CLIENT_ID_REUSED
                    assert command.text != found[0]
            elif command.actor_id not in members:
                assert reason(answer) == "CHANNEL_NOT_FOUND"
            continue
        assert command.actor_id in members, "only members change anything"
        for event in answer:
            seq += 1
            assert event.seq == seq
            assert event.create_time_ms >= time_ms
            time_ms = event.create_time_ms
            match event.body:
                case MessagePosted(text=text):
                    numbers += 1
                    key = (event.actor_id, event.client_message_id)
                    assert key not in table
                    table[key] = (text, seq)
                case MemberChanged(user_id=user_id, change=MemberChange.ADDED):
                    assert user_id not in members
                    members.add(user_id)
                case MemberChanged(user_id=user_id):
                    members.remove(user_id)
                case ChannelChanged():
                    raise AssertionError("nothing changes the settings")
            assert event.message_no == numbers
            evolve(state, event)
        assert set(state.roles) == members
        assert len(members) <= 4
        assert not members or OWNER in state.roles.values()
