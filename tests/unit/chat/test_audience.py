"""Who gets which events of a batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parley_server.chat.audience import audience_of
from parley_server.chat.event import Event, EventBody, MemberChange, MemberChanged, MessagePosted, Role

USERS = ["ann", "bob", "cho"]


def event(seq: int, body: EventBody) -> Event:
    return Event("c", seq, 0, 0, "ann", "", b"", body)


@given(
    members=st.sets(st.sampled_from(USERS)),
    steps=st.lists(
        st.tuples(st.sampled_from(["say", "in", "out", "removed", "role"]), st.sampled_from(USERS))
    ),
)
def test_the_audience_is_the_definition(members: set[str], steps: list[tuple[str, str]]) -> None:
    """A user gets what lies between the event that made him a member and the one that ended it, both
    included. Judged for each user and each event by itself; leaving out either border fails.
    """
    events: list[Event] = []
    expected: dict[str, list[int]] = {user_id: [] for user_id in USERS}
    for what, user_id in steps:
        before = set(members)
        match what:
            case "in" if user_id not in members:
                body: EventBody = MemberChanged(user_id, MemberChange.ADDED, Role.MEMBER)
                members.add(user_id)
            case "out" if user_id in members:
                body = MemberChanged(user_id, MemberChange.LEFT, None)
                members.remove(user_id)
            case "removed" if user_id in members:
                body = MemberChanged(user_id, MemberChange.REMOVED, None)
                members.remove(user_id)
            case _:
                body = MessagePosted("hello")
        for other in before | members:
            expected[other].append(len(events))
        events.append(event(len(events) + 1, body))
    audience = audience_of(set(members), events)
    got = {
        user_id: list(audience.passing[user_id])
        if user_id in audience.passing
        else list(range(len(events))) * (user_id in audience.steady)
        for user_id in USERS
    }
    assert got == expected


def test_a_batch_without_changes_costs_nothing() -> None:
    """The members are passed on as they are, not copied: there may be many."""
    members = {"ann": Role.OWNER}
    assert audience_of(members, [event(1, MessagePosted("x"))]).steady is members
