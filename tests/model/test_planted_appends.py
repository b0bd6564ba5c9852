"""Rules about appending a batch, each removed once: when to answer, and what an answer of the log means.

The rules are removed in subclasses here; the product has no switch for any of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from parley_runtime.refusal import Reason, Refusal
from parley_server.chat.batch import decide_batch
from parley_server.chat.owner import ChannelOwner
from parley_server.ports.message_log import Committed, Conflict, Unknown
from parley_server.testing.checker import Invariant
from parley_server.testing.passing_port import PassingPort

if TYPE_CHECKING:
    from tests.model.conftest import AssertBreaks

    from parley_server.chat.batch import Batch
    from parley_server.chat.channel_state import ChannelState
    from parley_server.chat.command import Command, Outcome
    from parley_server.chat.owner import OwnerLimits, OwnerPorts


class TakesUnknownForCommitted(ChannelOwner):
    """Does not look whether the rows are there."""

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        await self._mark_active()
        result = await self._ports.log.append(
            self.channel_id, batch.expected_head, batch.rows, self._ports.new_batch_id()
        )
        return not isinstance(result, Conflict)


class TakesUnknownForFailed(ChannelOwner):
    """Tells the senders that nothing was done."""

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        await self._mark_active()
        result = await self._ports.log.append(
            self.channel_id, batch.expected_head, batch.rows, self._ports.new_batch_id()
        )
        if isinstance(result, Unknown):
            raise _GaveUp
        return isinstance(result, Committed)

    async def _settle(self, commands: list[Command]) -> list[Outcome]:
        try:
            return await super()._settle(commands)
        except _GaveUp:
            self._state = None
            return [Refusal(Reason.SERVER_BUSY, "Nothing was done.") for _ in commands]


class _GaveUp(Exception):
    pass


class ForgetsItsUnknownAttempt(ChannelOwner):
    """Decides again after Unknown and never asks what became of the first attempt."""

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        return await super()._commit(batch, [])


class AcknowledgesBeforeCommit(ChannelOwner):
    """Answers as soon as it has decided, and appends afterwards."""

    _owed: Batch | None = None

    async def _settle(self, commands: list[Command]) -> list[Outcome]:
        state = self._state or await self._activate()
        batch = decide_batch(state, commands, self._ports.clock.now_ms(), {}, self._limits.batch)
        self._owed = batch
        return batch.outcomes

    async def _serve(self) -> None:
        await super()._serve()
        batch, self._owed = self._owed, None
        if batch is not None and batch.rows:
            await self._commit(batch, [])
            self._state = None


class AcknowledgesBeforeProjecting(ChannelOwner):
    """Leaves the projections to the next activation."""

    def __init__(self, channel_id: str, ports: OwnerPorts, limits: OwnerLimits) -> None:
        super().__init__(channel_id, ports, limits)
        self._projections = _SkipsOne(ports.projections)
        self._ports = replace(ports, projections=self._projections)

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        committed = await super()._commit(batch, unsettled)
        self._projections.skip = committed
        return committed


class _SkipsOne(PassingPort):
    skip = False

    async def apply(self, channel_id: str, events: Any) -> None:
        skip, self.skip = self.skip, False
        if not skip:
            await self._port.apply(channel_id, events)


class KeepsTheStateOfAFailedAppend(ChannelOwner):
    """Goes on from a state that the log never reached."""

    _kept: ChannelState | None = None

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        self._kept = self._state
        return await super()._commit(batch, unsettled)

    async def _activate(self) -> ChannelState:
        if self._kept is None:
            return await super()._activate()
        self._state = self._kept
        return self._kept


class TakesOverTheHeadOfAConflict(ChannelOwner):
    """Corrects the head and nothing else."""

    _kept: ChannelState | None = None

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        state = self._state
        await self._mark_active()
        batch_id = self._ports.new_batch_id()
        result = await self._ports.log.append(self.channel_id, batch.expected_head, batch.rows, batch_id)
        if isinstance(result, Conflict) and state is not None:
            state.head = result.head
            self._kept = state
        return isinstance(result, Committed)

    async def _activate(self) -> ChannelState:
        kept, self._kept = self._kept, None
        self._state = kept or await super()._activate()
        return self._state


class ProjectsUndecidedBatches(ChannelOwner):
    """Applies the events and then asks the log."""

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        await self._ports.projections.apply(self.channel_id, batch.events)
        return await super()._commit(batch, unsettled)


class AnswersFromAnOldState(ChannelOwner):
    """Refuses, or says that it holds already, without looking whether the log has moved on."""

    def __init__(self, channel_id: str, ports: OwnerPorts, limits: OwnerLimits) -> None:
        log: Any = _NeverMoves(ports.log, self)
        super().__init__(channel_id, replace(ports, log=log), limits)

    def head_of_state(self) -> int:
        return self._state.head if self._state else 0


class _NeverMoves(PassingPort):
    def __init__(self, port: Any, owner: AnswersFromAnOldState) -> None:
        super().__init__(port)
        self._owner = owner

    async def head(self, channel_id: str) -> int:
        return self._owner.head_of_state()


class ForgetsWhatDidNotFit(ChannelOwner):
    """Drops the commands that a full batch left over."""

    async def _serve(self) -> None:
        waiting = len(self._waiting)
        left = max(0, waiting - self._limits.batch.rows)
        newest = list(self._waiting)[waiting - left :]
        await super()._serve()
        while self._waiting and not (newest and self._waiting[0] is newest[0]):
            self._waiting.popleft()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("make_owner", "broken"),
    [
        (TakesUnknownForCommitted, Invariant.COMMITTED),
        (TakesUnknownForFailed, Invariant.ANSWER_IS_TRUE),
        (ForgetsItsUnknownAttempt, Invariant.ANSWER_IS_TRUE),
        (AcknowledgesBeforeCommit, Invariant.COMMITTED),
        (AcknowledgesBeforeProjecting, Invariant.PROJECTED),
        (KeepsTheStateOfAFailedAppend, Invariant.ANSWERED),
        (TakesOverTheHeadOfAConflict, Invariant.RULES),
        (TakesOverTheHeadOfAConflict, Invariant.ONE_SEQ),
        (ProjectsUndecidedBatches, Invariant.DERIVED),
        (AnswersFromAnOldState, Invariant.ANSWER_IS_TRUE),
        (ForgetsWhatDidNotFit, Invariant.ANSWERED),
    ],
)
def test_a_removed_rule_is_found(
    assert_breaks: AssertBreaks, make_owner: type[ChannelOwner], broken: Invariant
) -> None:
    """The broken owner over sound stores breaks the named invariant, within the budget of the quick run."""
    assert_breaks(make_owner, broken)
