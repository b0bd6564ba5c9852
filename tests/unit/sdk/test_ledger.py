"""Which positions may be stored, decided against a plain model."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parley._ledger import Entry, Ledger


@dataclass
class Given:
    """What the model remembers of one thing handed out."""

    entry: Entry | None
    channel_id: str
    seq: int
    cursor: str
    done: bool


class Positions(RuleBasedStateMachine):
    """Events of two channels and cursors, acknowledged in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.given: list[Given] = []
        self.heads = {"a": 0, "b": 0}
        self.stored: dict[str, int] = {}
        self.cursor = ""

    @rule(channel_id=st.sampled_from("ab"))
    def hand_out(self, channel_id: str) -> None:
        self.heads[channel_id] += 1
        seq = self.heads[channel_id]
        entry = self.ledger.hand_out(channel_id, seq)
        self.given.append(Given(entry, channel_id, seq, "", False))

    @rule(channel_id=st.sampled_from("ab"))
    def skip(self, channel_id: str) -> None:
        self.heads[channel_id] += 2
        self.ledger.mark_seq(channel_id, self.heads[channel_id])
        self.given.append(Given(None, channel_id, self.heads[channel_id], "", True))

    @rule()
    def mark(self) -> None:
        cursor = f"c{len(self.given)}"
        self.ledger.mark_cursor(cursor)
        self.given.append(Given(None, "", 0, cursor, True))

    @precondition(lambda self: any(not each.done for each in self.given))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        each = data.draw(st.sampled_from([each for each in self.given if not each.done]))
        each.done = True
        assert each.entry is not None
        for _ in range(2):
            self.ledger.acknowledge(each.entry)

    @rule()
    def store(self) -> None:
        changes = self.ledger.take_changes()
        if changes is not None:
            self.stored.update(changes.seqs)
            self.cursor = changes.cursor or self.cursor
        assert self.ledger.take_changes() is None
        expected_cursor = ""
        for each in self.given:
            if not each.done:
                break
            expected_cursor = each.cursor or expected_cursor
        assert self.cursor == expected_cursor
        for channel_id in "ab":
            expected = 0
            for each in self.given:
                if each.channel_id == channel_id:
                    if not each.done:
                        break
                    expected = each.seq
            assert self.stored.get(channel_id, 0) == (expected if self.cursor else 0)

    @invariant()
    def counts(self) -> None:
        """Planted once: a cursor stored with something before it not acknowledged; a seq stored beyond a gap;
        seqs stored before the first cursor; an event counted twice when acknowledged twice.
        """
        assert self.ledger.unacknowledged == sum(not each.done for each in self.given)


TestPositions = Positions.TestCase
TestPositions.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
