"""Many commands in one append."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import Refusal
from parley_server.chat import codec
from parley_server.chat.batch import BatchLimits, decide_batch
from parley_server.chat.channel_state import ChannelState
from parley_server.chat.command import AddMembers, Command, Done, LeaveChannel, PostMessage, RemoveMember
from parley_server.chat.event import Role
from parley_server.chat.known_ids import KnownIds

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW_MS = 1_760_000_000_000


def own_id(number: int) -> str:
    return f"0199c82c-c000-7000-8000-{number:012x}"


def post(actor_id: str, number: int, text: str = "hello") -> PostMessage:
    return PostMessage(actor_id, own_id(number), text.encode().ljust(32)[:32], text)


def state(**roles: Role) -> ChannelState:
    found = ChannelState("c", KnownIds(100), head=10, message_no=4, member_limit=5)
    found.roles.update(roles or {"ann": Role.OWNER, "bob": Role.MEMBER})
    return found


def outcomes(commands: Sequence[Command], limits: BatchLimits | None = None) -> list[str]:
    batch = decide_batch(state(), commands, NOW_MS, {}, limits or BatchLimits())
    return [
        outcome.reason.text if isinstance(outcome, Refusal) else f"{outcome.seq}{'=' * outcome.duplicate}"
        for outcome in batch.outcomes
    ]


def test_each_command_is_decided_on_what_those_before_it_led_to() -> None:
    """Within one batch too. Deciding all at the old head fails."""
    commands: list[Command] = [
        post("bob", 1),
        RemoveMember("ann", "bob"),
        post("bob", 2),
        post("bob", 1),
        AddMembers("ann", ("bob", "cho")),
        post("bob", 3),
        LeaveChannel("ann"),
    ]
    assert outcomes(commands) == ["11", "12", "CHANNEL_NOT_FOUND", "11=", "14", "15", "LAST_OWNER"]


def test_a_batch_stops_at_its_rows() -> None:
    """What does not fit is left for the next one, and nothing after it jumps the queue."""
    posts: list[Command] = [post("ann", number) for number in range(10)]
    assert outcomes(posts, BatchLimits(rows=3)) == ["11", "12", "13"]
    mixed: list[Command] = [post("ann", 1), post("ann", 2), AddMembers("ann", ("cho", "dai")), post("ann", 3)]
    assert outcomes(mixed, BatchLimits(rows=3)) == ["11", "12"]
    assert outcomes([AddMembers("ann", ("cho", "dai", "eve"))], BatchLimits(rows=2)) == ["13"]


def test_a_batch_stops_at_its_bytes() -> None:
    """Counted as encoded, and one command of any size always fits."""
    big = "x" * 1000
    one = len(
        codec.row_of(decide_batch(state(), [post("ann", 1, big)], NOW_MS, {}, BatchLimits()).events[0]).event
    )
    posts: list[Command] = [post("ann", number, big) for number in range(5)]
    assert outcomes(posts, BatchLimits(event_bytes=3 * one)) == ["11", "12", "13"]
    assert outcomes(posts, BatchLimits(event_bytes=3 * one - 1)) == ["11", "12"]
    assert outcomes(posts, BatchLimits(event_bytes=1)) == ["11"]


def test_answers_that_need_no_row_do_not_fill_a_batch() -> None:
    """A repeat costs nothing."""
    commands: list[Command] = [post("ann", 1), *[post("ann", 1)] * 5, post("ann", 2)]
    assert outcomes(commands, BatchLimits(rows=2)) == ["11", "11=", "11=", "11=", "11=", "11=", "12"]


def test_which_answers_rest_on_the_head() -> None:
    """A refusal, and that a change holds already, are true at a head; a repeat is true for ever.

    Counting only refusals made a stale owner say that a removed user was in: the model found it.
    """

    def rests(command: Command) -> bool:
        channel = state()
        first = decide_batch(channel, [post("ann", 1)], NOW_MS, {}, BatchLimits())
        assert not first.rests_on_head
        return decide_batch(channel, [command], NOW_MS, {}, BatchLimits()).rests_on_head

    assert not rests(post("ann", 1))
    assert rests(post("ann", 1, "other"))
    assert rests(post("eve", 2))
    assert rests(AddMembers("ann", ("bob",)))
    assert rests(RemoveMember("ann", "eve"))


def test_rows_are_the_events() -> None:
    """Encoded once, in order, with what a reader needs without decoding."""
    batch = decide_batch(state(), [post("ann", 1), AddMembers("ann", ("cho",))], NOW_MS, {}, BatchLimits())
    assert [codec.event_of(row) for row in batch.rows] == batch.events
    assert [row.is_message for row in batch.rows] == [True, False]
    assert batch.expected_head == 10
    assert batch.outcomes == [Done(11, 5, NOW_MS, duplicate=False), Done(12, 5, NOW_MS, duplicate=False)]
