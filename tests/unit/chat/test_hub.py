"""The sessions of a node get what is theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.chat.audience import audience_of
from parley_server.chat.event import Event, EventBody, MemberChange, MemberChanged, MessagePosted, Role
from parley_server.chat.hub import Hub

if TYPE_CHECKING:
    from collections.abc import Collection


class Ear:
    """A session that writes down what it hears."""

    def __init__(self, session_id: str, user_id: str) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self.device_id = session_id
        self.heard: list[object] = []

    def deliver(
        self, channel_id: str, first_seq: int, fields: Collection[bytes], position: int | None
    ) -> None:
        self.heard += range(first_seq, first_seq + len(fields))
        if position is not None:
            self.heard.append(f"at {position}")

    def put(self, field: bytes) -> None:
        raise NotImplementedError

    def control(self, field: bytes, position: int | None) -> None:
        self.heard.append(field)


def heard(hub: Hub, ears: list[Ear], members_after: set[str], *bodies: EventBody) -> list[list[object]]:
    events = [Event("c", 5 + place, 0, 0, "ann", "", b"", body) for place, body in enumerate(bodies)]
    positions = {ear.user_id: 7 for ear in ears}
    hub.deliver("c", 5, [b"x"] * len(events), audience_of(members_after, events), positions)
    return [ear.heard for ear in ears]


def hub_of(*ears: Ear) -> Hub:
    hub = Hub()
    for ear in ears:
        hub.add(ear)
    return hub


SAY = MessagePosted("x")
BOB_OUT = MemberChanged("bob", MemberChange.REMOVED, None)
BOB_IN = MemberChanged("bob", MemberChange.ADDED, Role.MEMBER)


def test_every_session_of_every_member_and_nobody_else() -> None:
    """All of a user's devices; strangers hear nothing."""
    ears = [Ear("1", "ann"), Ear("2", "ann"), Ear("3", "bob"), Ear("4", "dai")]
    found = heard(hub_of(*ears), ears, {"ann", "bob", "cho"}, SAY, SAY)
    assert found == [[5, 6, "at 7"], [5, 6, "at 7"], [5, 6, "at 7"], []]


def test_a_removed_user_hears_the_removal_and_nothing_after() -> None:
    """The rest of the batch is not his."""
    ears = [Ear("1", "ann"), Ear("2", "bob")]
    found = heard(hub_of(*ears), ears, {"ann"}, SAY, BOB_OUT, SAY)
    assert found == [[5, 6, 7, "at 7"], [5, 6, "at 7"]]


def test_out_and_in_again_within_a_batch() -> None:
    """What lies between is not his."""
    ears = [Ear("1", "bob")]
    found = heard(hub_of(*ears), ears, {"ann", "bob"}, BOB_OUT, SAY, BOB_IN, SAY)
    assert found == [[5, 7, 8, "at 7"]]


def test_a_channel_larger_than_the_node() -> None:
    """Only the sessions here are walked, and they are the right ones."""
    ears = [Ear("1", "ann"), Ear("2", "dai")]
    members = {"ann", *(f"user {number}" for number in range(1000))}
    assert heard(hub_of(*ears), ears, members, SAY) == [[5, "at 7"], []]


def test_leaving_the_hub() -> None:
    """Twice is fine, the other sessions stay, and nothing of the user is kept after the last."""
    one, other = Ear("1", "ann"), Ear("2", "ann")
    hub = hub_of(one, other)
    hub.remove(one)
    hub.remove(one)
    assert hub.sessions_of("ann") == (other,)
    assert heard(hub, [one, other], {"ann"}, SAY) == [[], [5, "at 7"]]
    hub.remove(other)
    assert (len(hub), hub.sessions_of("ann"), hub._by_user) == (0, (), {})
