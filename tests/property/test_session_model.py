"""Streams against a plain reading of the logs: whatever is late, lost, repeated, overtaken, cut or slow, a
device that follows the protocol ends with exactly what its user may see, once and in order.

Each planted bug is found by the same machine.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import Phase as HypothesisPhase
from hypothesis.database import InMemoryExampleDatabase
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from parley_server.backends.memory.feed import MemoryFeed
from parley_server.chat import joining, resume
from parley_server.chat.history import History
from parley_server.chat.outbox import Outbox
from parley_server.chat.session import Phase, Session, Start, Verdict
from parley_server.ports.message_log import LARGEST_SEQ
from parley_server.testing.stream_machine import StreamMachine
from parley_server.testing.stream_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from hypothesis.database import ExampleDatabase

    from parley_server.ports.projections import MemberRow

# `make model` plays more.
EXAMPLES = max(1, int(os.environ.get("PARLEY_MODEL_SCHEDULES", "3000")) // 30)

TestStreamMachine = StreamMachine.TestCase
TestStreamMachine.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    # A failure is printed as it was found: shrinking takes longer than a test may.
    phases=[HypothesisPhase.explicit, HypothesisPhase.reuse, HypothesisPhase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# Planted bugs


def _skipped_splice(monkeypatch: pytest.MonkeyPatch) -> None:
    def deliver(self: Session, *delivery: Any) -> Verdict:
        return honest(self, *delivery) if self.phase is Phase.LIVE else Verdict.PASSED

    honest = Session.deliver
    monkeypatch.setattr(Session, "deliver", deliver)


def _cursor_ahead_of_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    def jump(self: Session, position: int | None, verdict: Verdict) -> Verdict:
        if position is not None and position > self.position:
            self._reach(position)
        return verdict

    monkeypatch.setattr(Session, "_advance", jump)


def _cursor_ahead_after_a_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    def fall_behind(self: Session) -> Verdict:
        position = self.position
        verdict = honest(self)
        self.position = self.sent_position = position
        return verdict

    honest = Session._fall_behind
    monkeypatch.setattr(Session, "_fall_behind", fall_behind)


def _epoch_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_feed(self: World) -> None:
        honest(self)
        self.feed.port = self.new_feed("epoch1")

    honest = World.lose_feed
    monkeypatch.setattr(World, "lose_feed", lose_feed)


def _position_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def announce(self: MemoryFeed, user_id: str, channel_id: str, **raised: int) -> int | None:
        position = await honest(self, user_id, channel_id, **raised)
        if position is not None and position % 3 == 0:
            user = self._users[user_id]
            user.position -= 1
            user.entries[channel_id] = replace(user.entries[channel_id], position=position - 1)
            return position - 1
        return position

    honest = MemoryFeed.announce
    monkeypatch.setattr(MemoryFeed, "announce", announce)


def _announcement_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def announce(self: MemoryFeed, user_id: str, channel_id: str, **raised: int) -> int | None:
        if raised.get("head_seq", 0) % 3 == 0:
            return None
        return await honest(self, user_id, channel_id, **raised)

    honest = MemoryFeed.announce
    monkeypatch.setattr(MemoryFeed, "announce", announce)


def _announcement_repeated_late(monkeypatch: pytest.MonkeyPatch) -> None:
    def deliver(
        self: Session, channel_id: str, first_seq: int, fields: Collection[bytes], position: int | None
    ) -> Verdict:
        if self.phase is Phase.LIVE and 0 < first_seq < self._next_seq.get(channel_id, 0):
            self._next_seq[channel_id] = first_seq
        return honest(self, channel_id, first_seq, fields, position)

    honest = Session.deliver
    monkeypatch.setattr(Session, "deliver", deliver)


def _dropping_without_lagging(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_event(self: Outbox, field: bytes, channel_id: str, seq: int) -> bool:
        honest(self, field, channel_id, seq)
        return True

    honest = Outbox.add_event
    monkeypatch.setattr(Outbox, "add_event", add_event)


def _read_beyond_head(monkeypatch: pytest.MonkeyPatch) -> None:
    async def member(self: History, user_id: str, channel_id: str) -> tuple[MemberRow, int]:
        found, _ = await honest(self, user_id, channel_id)
        return found, LARGEST_SEQ

    honest = History._member
    monkeypatch.setattr(History, "_member", member)


def _gap_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def deliver(
        self: Session, channel_id: str, first_seq: int, fields: Collection[bytes], position: int | None
    ) -> Verdict:
        if self.phase is Phase.LIVE and channel_id in self._next_seq:
            self._next_seq[channel_id] = max(first_seq, self._next_seq[channel_id])
        return honest(self, channel_id, first_seq, fields, position)

    honest = Session.deliver
    monkeypatch.setattr(Session, "deliver", deliver)


def _heads_taken_for_what_clients_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def join(self: Session, start: Start) -> None:
        honest(self, dataclasses.replace(start, unsure=()))

    honest = Session.join
    monkeypatch.setattr(Session, "join", join)


def _known_heads_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(
        position: int,
        changed: Iterable[str],
        heads: Mapping[str, int],
        watched: Iterable[str],
        *rest: Any,
        **limit: Any,
    ) -> Any:
        changed = list(changed)
        seen = {channel_id: head for channel_id, head in heads.items() if channel_id in changed}
        return honest(position, changed, seen, watched, *rest, **limit)

    honest = resume.decide_resume
    monkeypatch.setattr(joining, "decide_resume", decide)


def _read_mark_lost_while_catching_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_mark(self: Session, field: bytes, position: int) -> Verdict:
        return honest(self, field, position) if self.phase is Phase.LIVE else Verdict.PASSED

    honest = Session.put_mark
    monkeypatch.setattr(Session, "put_mark", put_mark)


def _ping_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "announced", lambda self, position: None)


@seed(0)
class SearchedMachine(StreamMachine):
    """The same, searched in the same order each time, as far as Hypothesis lets: it also draws numbers that
    stand in the modules that happen to be loaded.
    """


def _run(kept: ExampleDatabase, phase: HypothesisPhase) -> None:
    run_state_machine_as_test(
        SearchedMachine,
        settings=settings(
            TestStreamMachine.settings,
            # Each is found within some dozens; what takes thousands wants a rule that leads there.
            max_examples=3000,
            phases=[phase],
            database=kept,
            print_blob=False,
            report_multiple_bugs=False,
        ),
    )


@pytest.mark.parametrize(
    "plant",
    [
        _skipped_splice,
        _cursor_ahead_of_delivery,
        _cursor_ahead_after_a_lag,
        _epoch_not_changed,
        _position_reused,
        _announcement_lost,
        _announcement_repeated_late,
        _dropping_without_lagging,
        _read_beyond_head,
        _gap_ignored,
        _heads_taken_for_what_clients_have,
        _known_heads_ignored,
        _read_mark_lost_while_catching_up,
        _ping_says_nothing,
    ],
)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """And it is the bug that is found: the same steps without it break nothing."""
    kept = InMemoryExampleDatabase()
    with monkeypatch.context() as planted:
        plant(planted)
        with pytest.raises(AssertionError):
            _run(kept, HypothesisPhase.generate)
    assert any(kept.data.values())
    _run(kept, HypothesisPhase.reuse)
