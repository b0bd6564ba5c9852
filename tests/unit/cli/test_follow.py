"""A reader that loses its stream again and again shows every event once, in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parley_cli.follow import Gap, Shown, reconnect_wait_seconds

_CHANNELS = ("a", "b")


def test_what_came_before_the_beginning_is_not_missed() -> None:
    shown = Shown({"a": 5})
    assert shown.gaps({"a": 5}) == []
    assert shown.gaps({"a": 7, "b": 2}) == [Gap("a", 6, 7), Gap("b", 1, 2)]


def test_an_event_of_the_past_that_comes_on_the_stream_is_shown_once() -> None:
    """Planted: taking the heads for shown was caught here: an event between head and stream was left out."""
    shown = Shown({"a": 5})
    assert shown.take("a", 5)
    assert not shown.take("a", 5)
    assert not shown.take("a", 4)


_steps = st.lists(
    st.tuples(st.sampled_from(["write", "lose", "back", "fill"]), st.sampled_from(_CHANNELS)), max_size=60
)


@given(_steps)
def test_nothing_is_left_out_repeated_or_reordered(steps: list[tuple[str, str]]) -> None:
    """The stream delivers while it is up; on the way back gaps are read, sometimes only in part.

    Planted: a `take` that always passes repeated events.
    """
    heads = dict.fromkeys(_CHANNELS, 0)
    shown = Shown(heads)
    seen: dict[str, list[int]] = {channel: [] for channel in _CHANNELS}
    connected = True

    def show(channel: str, seq: int) -> None:
        if shown.take(channel, seq):
            seen[channel].append(seq)

    def fill(*, whole: bool) -> None:
        for gap in shown.gaps(heads):
            end = gap.to_seq if whole else (gap.from_seq + gap.to_seq) // 2
            for seq in range(gap.from_seq, end + 1):
                show(gap.channel_id, seq)

    for step, channel in [*steps, ("lose", "a"), ("back", "a")]:
        if step == "write":
            heads[channel] += 1
            if connected:
                show(channel, heads[channel])
        elif step == "lose":
            connected = False
        elif step == "fill":
            # A filling that broke off: the stream is not back yet.
            if not connected:
                fill(whole=False)
        elif not connected:
            fill(whole=True)
            connected = True
            # The new stream may tell once more what was read already.
            show(channel, heads[channel])
    assert seen == {channel: list(range(1, head + 1)) for channel, head in heads.items()}


def test_waits_grow_to_a_bound_and_obey_the_server() -> None:
    assert reconnect_wait_seconds(1, 7.5, 0.99) == 7.5
    assert reconnect_wait_seconds(1, None, 0.0) == 0.0
    longest = [reconnect_wait_seconds(attempt, None, 1.0) for attempt in range(1, 200)]
    assert longest == sorted(longest)
    assert longest[-1] == 5.0
