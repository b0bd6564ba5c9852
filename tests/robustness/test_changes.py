"""Whoever was away through all changes ends with exactly what one who was online has, and what is stored."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from parley_server.testing.robustness.changes_report import ChangeDemands
from parley_server.testing.robustness.scenario import Plan

if TYPE_CHECKING:
    from tests.robustness.conftest import ChangesPlan

# `make robustness` asks for more.
CHANGES = int(os.environ.get("PARLEY_ROBUSTNESS_MESSAGES", "1200")) // 4
KILLS = max(2, CHANGES // 400)
KINDS = frozenset({"send", "edit", "delete", "react", "unreact", "pin"})
GOVERNED = frozenset({"role", "remove", "add", "ban", "unban", "invite", "join", "title"})
ENDS = frozenset({"account deleted", "channel deleted"})
RESUMES = frozenset({"continued", "reset NO_CURSOR", "reset EPOCH_CHANGED"})


@pytest.mark.slow
@pytest.mark.timeout(120 + CHANGES // 4)
@pytest.mark.parametrize("world", [(), ("projections_last",)], ids=["one commit", "commits apart"])
def test_every_device_shows_what_the_changed_log_leads_to(
    run_changes: ChangesPlan, seed: int, world: tuple[str, ...]
) -> None:
    """7 users write, edit, delete, react, pin and answer in threads while others are removed, banned, invited
    and given roles; an account and a channel end; kills take all that was not synced. 21 devices, of which
    two thirds are hardly ever there, end with what a plain fold of the stored log says; so do all reads, the
    SDK's timelines, the projections, and the projections derived anew. Text that was taken back is served to
    nobody who came later. Whether log and projections are committed together makes no difference.

    The bugs of tests/planted are found in runs like this one: see test_planted_change_bugs.
    """
    report = run_changes(
        Plan(seed=seed, kills=KILLS, acknowledged=CHANGES),
        ChangeDemands(
            kills=KILLS,
            acknowledged=CHANGES,
            unknown=KILLS // 2,
            kinds=KINDS | (frozenset({"unpin"}) if CHANGES > 1000 else frozenset()),
            governed=ENDS | (GOVERNED if CHANGES > 1000 else frozenset()),
            resumes=RESUMES,
        ),
        *world,
    )
    assert report.passed, report.text()
