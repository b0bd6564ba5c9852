"""Stores that break a law of theirs, each found by the checker, which names what it broke."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from parley_runtime.at_once import run_at_once
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat.owner import ChannelOwner
from parley_server.ports.message_log import AppendResult, Committed, LogPage
from parley_server.testing.checker import Invariant
from parley_server.testing.model_store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.model.conftest import AssertBreaks

    from parley_server.ports.message_log import Row


class _BlindLog(MemoryMessageLog):
    def write(self, channel_id: str, expected_head: int, rows: Sequence[Row], batch_id: bytes) -> None:
        if not run_at_once(self.head(channel_id)):
            run_at_once(self.append(channel_id, 0, rows, batch_id))
            return
        channel = self._channels[channel_id]
        channel.rows[expected_head : expected_head + len(rows)] = rows
        channel.batch_ids[expected_head : expected_head + len(rows)] = [batch_id] * len(rows)


class _PlantedStore(ModelStore):
    def __init__(self) -> None:
        self.blind = _BlindLog()
        super().__init__("c", self.blind, MemoryProjections())


class AppendsWithoutComparing(_PlantedStore):
    """Writes at the expected head, whatever the head is."""

    def do_append(self, expected_head: int, rows: Sequence[Row], batch_id: bytes) -> AppendResult:
        if run_at_once(self.log.head("c")) < expected_head:
            return super().do_append(expected_head, rows, batch_id)
        self.blind.write("c", expected_head, rows, batch_id)
        return Committed()


class AcceptsWhatLandsLate(AppendsWithoutComparing):
    """Compares, but not for a write that its caller gave up before."""

    def do_append(self, expected_head: int, rows: Sequence[Row], batch_id: bytes) -> AppendResult:
        if self.late:
            return super().do_append(expected_head, rows, batch_id)
        return ModelStore.do_append(self, expected_head, rows, batch_id)


class CommitsPartOfABatch(_PlantedStore):
    """Writes the first row only, and says that all are committed."""

    def do_append(self, expected_head: int, rows: Sequence[Row], batch_id: bytes) -> AppendResult:
        return super().do_append(expected_head, rows[:1], batch_id)


class AnswersWithoutWriting(_PlantedStore):
    """Now and then says committed and keeps nothing, as a disk that does not sync would."""

    def do_append(self, expected_head: int, rows: Sequence[Row], batch_id: bytes) -> AppendResult:
        if batch_id[-1] % 4 == 0 and run_at_once(self.log.head("c")) == expected_head:
            return Committed()
        return super().do_append(expected_head, rows, batch_id)


class ReadsWithAHole(_PlantedStore):
    """A reader may see a batch without the row before it."""

    def read(self, from_seq: int, to_seq: int, **asked: Any) -> LogPage:
        page = super().read(from_seq, to_seq, **asked)
        if asked["limit"] == 5 and len(page.rows) > 2:
            return replace(page, rows=(page.rows[0], *page.rows[2:]))
        return page


class _Loses(MemoryProjections):
    async def apply(self, channel_id: str, events: Any) -> None:
        await super().apply(channel_id, events)
        channel = self._channels[channel_id]
        for event in events:
            if event.seq == 7:
                channel.members.pop("bob", None)


class ProjectsWrongly(ModelStore):
    """Forgets a member on the way."""

    def __init__(self) -> None:
        super().__init__("c", MemoryMessageLog(), _Loses())


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("make_store", "broken"),
    [
        (AppendsWithoutComparing, Invariant.ONE_CONTENT),
        (AcceptsWhatLandsLate, Invariant.ONE_CONTENT),
        (CommitsPartOfABatch, Invariant.COMPARE),
        (AnswersWithoutWriting, Invariant.COMMITTED),
        (ReadsWithAHole, Invariant.PREFIX),
        (ProjectsWrongly, Invariant.DERIVED),
    ],
)
def test_a_broken_store_is_found(
    assert_breaks: AssertBreaks, make_store: type[ModelStore], broken: Invariant
) -> None:
    """Nothing else has to fail: the real owner over this store breaks the named invariant."""
    assert_breaks(ChannelOwner, broken, make_store)
