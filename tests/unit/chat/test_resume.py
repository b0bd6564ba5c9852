"""How a device's past connects to its stream."""

from __future__ import annotations

from parley_server.chat.resume import (
    Continued,
    Digested,
    Replayed,
    Reset,
    ResetCause,
    Resume,
    decide_resume,
    start_of,
)
from parley_server.chat.session import Start

HEADS = {"a": 10, "b": 20, "big": 30}


def decide(
    changed: tuple[str, ...] = (), watched: tuple[str, ...] = (), limit: int = 5, **known: int
) -> Resume:
    return decide_resume(7, changed, HEADS, watched, known, replay_limit_events=limit)


def test_nothing_changed() -> None:
    assert decide() == Continued()
    assert decide(a=10, b=20) == Continued()


def test_few_events_in_named_channels_are_replayed() -> None:
    """To the event: one more than may be replayed is a digest."""
    assert decide(("a",), a=5, b=20) == Replayed(7, {"a": 5})
    assert decide(("a",), limit=4, a=5, b=20) == Digested(("a",))
    assert decide(("b", "a"), a=8, b=18) == Replayed(7, {"b": 18, "a": 8})


def test_a_channel_that_was_not_named_makes_it_a_digest() -> None:
    assert decide(("b", "a"), a=9) == Digested(("b", "a"))


def test_a_head_beyond_what_the_client_has_is_missed_though_the_feed_is_silent() -> None:
    """Written, projected and not announced yet: it was left out, and then taken for had."""
    assert decide(a=9, b=20) == Replayed(7, {"a": 9})
    assert decide(("b",), a=1) == Digested(("b", "a"))


def test_big_channels_are_compared_by_their_heads() -> None:
    assert decide(watched=("big",), big=30) == Continued()
    assert decide(watched=("big",), big=28) == Replayed(7, {"big": 28})
    assert decide(watched=("big",)) == Digested(("big",))


def test_a_client_cannot_be_ahead_of_the_head() -> None:
    assert decide(("a",), a=99) == Replayed(7, {"a": 10})


def test_a_channel_that_nobody_knows_is_nobodys() -> None:
    """The feed may name a channel of which the user never became a member."""
    assert decide(("x",)) == Continued()


def begin(resume: Resume, members: tuple[str, ...] = ("a", "b"), **known: int) -> Start:
    return start_of(resume, 9, HEADS, members, known)


def test_after_a_reset_all_heads_are_told() -> None:
    """What the client says it knows counts for nothing: it compares by itself."""
    assert begin(Reset(ResetCause.NO_CURSOR), a=3, x=5) == Start(9, {"a": 11, "b": 21})


def test_continued_is_sure_of_named_channels_only() -> None:
    start = begin(Continued(), a=10)
    assert start == Start(9, {"a": 11, "b": 21}, (), ["b"])


def test_replayed_begins_at_the_cursor_with_what_the_client_has() -> None:
    start = begin(Replayed(7, {"a": 8}), a=8, b=20)
    assert start == Start(7, {"a": 9, "b": 21}, ("a",), [])


def test_digested_begins_at_the_heads_that_are_told() -> None:
    """A channel that the user has left is among them."""
    start = begin(Digested(("a", "big")))
    assert start == Start(9, {"a": 11, "b": 21, "big": 31}, (), ["b"])


def test_a_channel_that_the_client_knows_and_has_been_taken_from_goes_on_there() -> None:
    """The event of leaving may still be on its way."""
    assert begin(Continued(), ("a",), a=10, left=4).next_seqs == {"a": 11, "left": 5}
