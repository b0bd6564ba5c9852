"""Projections of histories in which everything happens, cut anyhow. A part of projections_contract."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley_server.chat.event import ChannelKind, HistoryVisibility
from parley_server.testing.channel_histories import Step, history, random_steps, steps
from parley_server.testing.projections_suite import ProjectionsSuite, assert_says


class ProjectedHistoriesContract(ProjectionsSuite):
    """Random histories against a model that works everything out anew from all events."""

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[
            HealthCheck.differing_executors,
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
        ],
    )
    @given(
        walk=steps,
        direct=st.booleans(),
        visibility=st.sampled_from(HistoryVisibility),
        cuts=st.lists(st.integers(1, 20), min_size=1),
        overlaps=st.lists(st.integers(0, 3), min_size=1),
    )
    async def test_any_log_cut_anyhow_and_applied_twice_is_the_same(
        self,
        walk: list[Step],
        direct: bool,
        visibility: HistoryVisibility,
        cuts: list[int],
        overlaps: list[int],
    ) -> None:
        """Caught when reactions that came with the deletion of their message in one batch were written after
        it, and when former members of a deleted channel kept their rows.
        """
        kind = ChannelKind.DIRECT if direct else ChannelKind.GROUP
        events = history("a", walk, kind=kind, visibility=visibility)
        async with self.opened() as projections:
            done = turn = 0
            while done < len(events):
                start = max(0, done - overlaps[turn % len(overlaps)])
                done = min(len(events), done + cuts[turn % len(cuts)])
                await projections.apply("a", events[start:done])
                turn += 1
                if turn == 3:
                    await assert_says(projections, "a", events[:done])
            await assert_says(projections, "a", events)

    async def test_long_histories_side_by_side_are_each_what_they_say(self) -> None:
        """Caught when a channel's rows were looked for beyond its last place: it had the next one's pins."""
        async with self.opened() as projections:
            chooser = random.Random(11)
            logs = {name: history(name, random_steps(chooser, 400)) for name in ("a", "b", "c", "d", "e")}
            done = dict.fromkeys(logs, 0)
            while left := [name for name, events in logs.items() if done[name] < len(events)]:
                name = chooser.choice(left)
                upto = done[name] + chooser.randint(1, 12)
                await projections.apply(name, logs[name][done[name] : upto])
                done[name] = min(upto, len(logs[name]))
            for name, events in logs.items():
                await assert_says(projections, name, events)
