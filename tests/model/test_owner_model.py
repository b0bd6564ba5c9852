"""The real owners of a channel keep every promise of order and durability, whatever the order of events."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley_runtime.refusal import Refusal
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat.codec import event_of
from parley_server.chat.command import Done
from parley_server.chat.event import Event, MemberChange, MemberChanged, ReactionChanged
from parley_server.chat.owner import ChannelOwner
from parley_server.testing.checker import check
from parley_server.testing.model_history import Answered, Appending, Rested, Stored
from parley_server.testing.model_store import ModelStore
from parley_server.testing.schedule import LIMITS, Schedule, first_violations

if TYPE_CHECKING:
    from collections.abc import Callable

    from parley_server.testing.checker import Violation


@pytest.mark.timeout(3600)
def test_no_schedule_breaks_an_invariant(seeds: range, make_store: Callable[[], ModelStore]) -> None:
    """Every rule that an owner or a store keeps was removed once, and found here: test_planted_*.py."""
    broken = first_violations(seeds, make_store, ChannelOwner)
    assert broken is None, _report(*broken)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(choices=st.randoms(use_true_random=False))
def test_no_schedule_that_hypothesis_draws_breaks_an_invariant(choices: random.Random) -> None:
    """As above, with choices that Hypothesis makes smaller when it finds something."""
    store = ModelStore("c", MemoryMessageLog(), MemoryProjections())
    history = Schedule(store, choices, ChannelOwner, commands=12).play()
    assert check(history, LIMITS.activation.channel) == []


def test_a_seed_is_one_history(make_store: Callable[[], ModelStore]) -> None:
    """A seed that failed must fail again: no choice may come from anywhere else. An owner given random batch
    ids instead of counted ones fails this.
    """
    first, second = (Schedule(make_store(), random.Random(11), ChannelOwner).play() for _ in range(2))
    assert [str(step) for step in first] == [str(step) for step in second]


def test_the_schedules_reach_what_they_are_for(make_store: Callable[[], ModelStore]) -> None:
    """A model that tries nothing finds nothing: conflicts, repeats, unknown outcomes, every refusal occur."""
    seen: Counter[str] = Counter()
    for seed in range(300):
        history = Schedule(make_store(), random.Random(seed), ChannelOwner).play()
        stored = {step.batch_id: step for step in history if isinstance(step, Stored)}
        seen.update(_what(event_of(row)) for row in next(reversed(stored.values())).log)
        for step in history:
            match step:
                case Appending(batch_id=batch_id, rows=rows):
                    seen["several rows" if len(rows) > 1 else "one row"] += 1
                    seen["lost append"] += batch_id not in stored
                case Answered(outcome=Done(duplicate=duplicate)):
                    seen["repeat" if duplicate else "done"] += 1
                case Answered(outcome=Refusal() as refusal):
                    seen[refusal.reason.text] += 1
                case Rested(watermark=watermark):
                    seen["long log"] += watermark > 12
                case _:
                    seen[type(step).__name__] += 1
    for what in (
        *("one row", "several rows", "lost append", "done", "repeat", "long log", "Read", "MarkedFanned"),
        *("STORE_UNAVAILABLE", "CLIENT_ID_REUSED", "CHANNEL_NOT_FOUND", "ROLE_REQUIRED", "CHANNEL_FULL"),
        *("LAST_OWNER", "DIRECT_CHANNEL", "INVALID_FIELD", "INVITE_NOT_FOUND", "USER_BANNED"),
        *("MESSAGE_NOT_FOUND", "MESSAGE_DELETED", "NOT_AUTHOR", "TOO_MANY_REACTIONS", "USER_NOT_FOUND"),
        *("MessageEdited", "MessageDeleted", "PinChanged", "BanChanged", "InviteChanged", "Erased"),
        *("a role", "joined by invite", "reaction 1", "reaction 2", "taken off"),
    ):
        assert seen[what] > 5, f"{what}: {seen}"
    assert seen["Failed"] == 0


def _what(event: Event) -> str:
    match event.body:
        case ReactionChanged(added=added, count=count):
            return f"reaction {count}" if added else "taken off"
        case MemberChanged(invite_id=invite_id) as change:
            role = "a role" if change.change is MemberChange.ROLE_CHANGED else "a member"
            return "joined by invite" if invite_id else role
        case body:
            return type(body).__name__


def _report(seed: int, violations: list[Violation]) -> str:
    lines = "\n".join(f"  {violation}" for violation in violations[:10])
    return f"seed {seed}:\n{lines}\nAgain: PARLEY_MODEL_SEED={seed} PARLEY_MODEL_SCHEDULES=1"
