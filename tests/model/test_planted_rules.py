"""Each rule of order and durability, removed once: the checker finds it and names what it broke.

The rules are removed in subclasses here; the product has no switch for any of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from parley_runtime.at_once import run_at_once
from parley_runtime.refusal import Reason, Refusal
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat import codec
from parley_server.chat.activation import activate
from parley_server.chat.batch import Batch, decide_batch
from parley_server.chat.client_id import AHEAD_LIMIT_MS
from parley_server.chat.command import client_id_of
from parley_server.chat.erasure import Eraser
from parley_server.chat.event import MessageDeleted
from parley_server.chat.known_ids import KnownIds, Sent
from parley_server.chat.owner import ChannelOwner
from parley_server.ports.message_log import AppendResult, Committed, Conflict, LogPage, Unknown
from parley_server.testing.checker import Invariant
from parley_server.testing.model_store import ModelStore
from parley_server.testing.schedule import LIMITS, first_violations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.chat.channel_state import ChannelState
    from parley_server.chat.command import Command, Outcome
    from parley_server.chat.event import Event
    from parley_server.chat.owner import OwnerLimits, OwnerPorts
    from parley_server.ports.message_log import Row


class _Passing:
    """A port that passes everything on, but for what a subclass names."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


# Stores


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


# Owners


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


class _SkipsOne(_Passing):
    skip = False

    async def apply(self, channel_id: str, events: Any) -> None:
        skip, self.skip = self.skip, False
        if not skip:
            await self._port.apply(channel_id, events)


class NeverMarksActive(ChannelOwner):
    """Leaves no trace for whoever takes the slot over."""

    async def _mark_active(self) -> None:
        return


class MarksActiveOnce(ChannelOwner):
    """Marks the first minute only: an hour later the set is gone, and the channel is still written to."""

    async def _mark_active(self) -> None:
        if self._active_minute < 0:
            await super()._mark_active()


class MarksActiveAfterwards(ChannelOwner):
    """Marks once the rows are committed, when a crash may have come first."""

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        committed = await self._commit_only(batch)
        if committed:
            await self._mark_active()
        return committed

    async def _commit_only(self, batch: Batch) -> bool:
        self._ports.clock.now_ms()
        batch_id = self._ports.new_batch_id()
        result = await self._ports.log.append(self.channel_id, batch.expected_head, batch.rows, batch_id)
        return isinstance(result, Committed)


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


class ForgetsIdsAtActivation(ChannelOwner):
    """Takes a channel over as if nobody had ever sent anything."""

    async def _activate(self) -> ChannelState:
        state = await super()._activate()
        state.known_ids = KnownIds(LIMITS.activation.known_ids)
        return state


class ForgetsIdsWithinABatch(ChannelOwner):
    """Keeps to its bound at every id, so that what was looked for may be gone when it is decided."""

    async def _activate(self) -> ChannelState:
        state = await super()._activate()
        known = _ShrinksAtOnce(LIMITS.activation.known_ids, state.known_ids.older_until_ms)
        known._sent.update(state.known_ids._sent)
        state.known_ids = known
        return state


class _ShrinksAtOnce(KnownIds):
    def add(self, actor_id: str, client_id: str, sent: Sent) -> None:
        super().add(actor_id, client_id, sent)
        self.shrink()


class ForgetsThatIdsMayBeDatedAhead(ChannelOwner):
    """Takes ids dated after the oldest event it knows for new, though clients' clocks may run ahead."""

    async def _activate(self) -> ChannelState:
        state = await super()._activate()
        if state.known_ids.older_until_ms >= 0:
            state.known_ids.older_until_ms -= AHEAD_LIMIT_MS
        return state


class NeverLooksUp(ChannelOwner):
    """Knows only the newest ids."""

    async def _look_up(self, state: ChannelState, commands: list[Command]) -> dict[tuple[str, str], Sent]:
        return {}


class TrustsCandidates(ChannelOwner):
    """Takes a candidate for the id without comparing it with the log."""

    async def _look_up(self, state: ChannelState, commands: list[Command]) -> dict[tuple[str, str], Sent]:
        found: dict[tuple[str, str], Sent] = {}
        for command in commands:
            key = (command.actor_id, client_id_of(command))
            if key[1] and state.known_ids.may_be_older(*key):
                for seq in await self._ports.projections.seqs_of(self.channel_id, *key):
                    page = await self._ports.log.read(self.channel_id, seq, seq, limit=1, limit_bytes=1)
                    for event in map(codec.event_of, page.rows):
                        digest = getattr(command, "digest", b"")
                        found[key] = Sent(event.seq, event.message_no, event.create_time_ms, digest)
        return found


class ProjectsUndecidedBatches(ChannelOwner):
    """Applies the events and then asks the log."""

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        await self._ports.projections.apply(self.channel_id, batch.events)
        return await super()._commit(batch, unsettled)


class ReadsMembersUnchecked(ChannelOwner):
    """Takes head and members from different moments for one state."""

    def __init__(self, channel_id: str, ports: OwnerPorts, limits: OwnerLimits) -> None:
        projections: Any = _StandsStill(ports.projections)
        super().__init__(channel_id, replace(ports, projections=projections), limits)


class _StandsStill(_Passing):
    _row: Any = None

    async def channel(self, channel_id: str) -> Any:
        self._row = await self._port.channel(channel_id)
        return self._row

    async def watermark(self, channel_id: str) -> int:
        row, self._row = self._row, None
        watermark: int = row.watermark if row else await self._port.watermark(channel_id)
        return watermark


class AnswersFromAnOldState(ChannelOwner):
    """Refuses, or says that it holds already, without looking whether the log has moved on."""

    def __init__(self, channel_id: str, ports: OwnerPorts, limits: OwnerLimits) -> None:
        log: Any = _NeverMoves(ports.log, self)
        super().__init__(channel_id, replace(ports, log=log), limits)

    def head_of_state(self) -> int:
        return self._state.head if self._state else 0


class _NeverMoves(_Passing):
    def __init__(self, port: Any, owner: AnswersFromAnOldState) -> None:
        super().__init__(port)
        self._owner = owner

    async def head(self, channel_id: str) -> int:
        return self._owner.head_of_state()


class AnnouncesOnlyItsOwn(ChannelOwner):
    """Does not announce again what came after the fanned mark."""

    async def _activate(self) -> ChannelState:
        ports = self._ports
        self._state = await activate(self.channel_id, ports.log, ports.projections, self._limits.activation)
        self._fanned = self._fanned_marked = self._state.head
        return self._state


class AnnouncesOldEventsToNewMembers(ChannelOwner):
    """Announces each page to the members of the newest head."""

    def __init__(self, channel_id: str, ports: OwnerPorts, limits: OwnerLimits) -> None:
        fanout: Any = _ToThoseOfTheHead(ports.fanout, self)
        super().__init__(channel_id, replace(ports, fanout=fanout), limits)
        self.members: Any = ()

    async def _activate(self) -> ChannelState:
        rows = await self._ports.projections.members(self.channel_id, after_user_id="", limit=100)
        self.members = {row.user_id for row in rows}
        state = await super()._activate()
        self.members = ()
        return state


class _ToThoseOfTheHead(_Passing):
    def __init__(self, port: Any, owner: AnnouncesOldEventsToNewMembers) -> None:
        super().__init__(port)
        self._owner = owner

    async def publish(self, channel_id: str, members_after: Any, events: Any, encoded: Any) -> None:
        await self._port.publish(channel_id, self._owner.members or members_after, events, encoded)


class MarksFannedTooEarly(ChannelOwner):
    """Raises the mark when it appends."""

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        await self._ports.log.mark_fanned(self.channel_id, batch.rows[-1].seq)
        return await super()._commit(batch, unsettled)


class LetsTimeGoBack(ChannelOwner):
    """Forgets at activation what time it was."""

    async def _activate(self) -> ChannelState:
        state = await super()._activate()
        state.last_time_ms = 0
        return state


class KeepsTargetsAcrossAConflict(ChannelOwner):
    """Learns the channel again, and takes what it knew of messages along."""

    _known: Any = None

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        self._known = dict(self._state.targets) if self._state is not None else None
        return await super()._commit(batch, unsettled)

    async def _activate(self) -> ChannelState:
        state = await super()._activate()
        state.targets.update(self._known or {})
        return state


class KeepsInvitesAcrossAConflict(ChannelOwner):
    """Learns the channel again, but not how often its invites were used meanwhile."""

    _known: Any = None

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        self._known = dict(self._state.invites) if self._state is not None else None
        return await super()._commit(batch, unsettled)

    async def _activate(self) -> ChannelState:
        state = await super()._activate()
        state.invites.update(self._known or {})
        return state


class ForgetsBans(ChannelOwner):
    """Takes a channel over without its bans."""

    async def _activate(self) -> ChannelState:
        state = await super()._activate()
        state.banned.clear()
        return state


class ErasesBeforeCommit(ChannelOwner):
    """Takes the text out of the log first: whoever wins the conflict decides about nothing."""

    async def _commit(self, batch: Batch, unsettled: Any) -> bool:
        await self._ports.eraser.erase_now(self.channel_id, batch.events)
        return await super()._commit(batch, unsettled)


class ForgetsToErase(ChannelOwner):
    """Says that it is done, and leaves the text where it is."""

    def __init__(self, channel_id: str, ports: OwnerPorts, limits: OwnerLimits) -> None:
        super().__init__(
            channel_id, replace(ports, eraser=_SaysItIsDone(ports.log, ports.projections)), limits
        )


class _SaysItIsDone(Eraser):
    async def erase_now(self, channel_id: str, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event.body, MessageDeleted):
                await self._projections.erasure_done(channel_id, event.seq)


class CountsReactionsOfItsOwnOnly(ChannelOwner):
    """Learns of a message who wrote it, and not what was put on it before."""

    async def _activate(self) -> ChannelState:
        state = await super()._activate()
        state.targets = _Unreacted()
        return state


class _Unreacted(dict[int, Any]):
    def update(self, found: Any) -> None:
        for target in found.values():
            if target is not None:
                target.reactions.clear()
        super().update(found)


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
def test_a_broken_store_is_found(seeds: range, make_store: type[ModelStore], broken: Invariant) -> None:
    """Nothing else has to fail: the real owner over this store breaks the named invariant."""
    assert _breaks(seeds, make_store, ChannelOwner, broken)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("make_owner", "broken"),
    [
        (TakesUnknownForCommitted, Invariant.COMMITTED),
        (TakesUnknownForFailed, Invariant.ANSWER_IS_TRUE),
        (ForgetsItsUnknownAttempt, Invariant.ANSWER_IS_TRUE),
        (AcknowledgesBeforeCommit, Invariant.COMMITTED),
        (AcknowledgesBeforeProjecting, Invariant.PROJECTED),
        (NeverMarksActive, Invariant.ACTIVE),
        (MarksActiveOnce, Invariant.ACTIVE),
        (MarksActiveAfterwards, Invariant.ACTIVE),
        (KeepsTheStateOfAFailedAppend, Invariant.ANSWERED),
        (TakesOverTheHeadOfAConflict, Invariant.RULES),
        (TakesOverTheHeadOfAConflict, Invariant.ONE_SEQ),
        (ForgetsIdsAtActivation, Invariant.ONE_SEQ),
        (ForgetsIdsWithinABatch, Invariant.ONE_SEQ),
        (ForgetsThatIdsMayBeDatedAhead, Invariant.ONE_SEQ),
        (NeverLooksUp, Invariant.ONE_SEQ),
        (TrustsCandidates, Invariant.ANSWER_IS_ROW),
        (ProjectsUndecidedBatches, Invariant.DERIVED),
        (ReadsMembersUnchecked, Invariant.ANNOUNCED),
        (AnswersFromAnOldState, Invariant.ANSWER_IS_TRUE),
        (AnnouncesOnlyItsOwn, Invariant.ANNOUNCED),
        (AnnouncesOldEventsToNewMembers, Invariant.ANNOUNCED),
        (MarksFannedTooEarly, Invariant.MARKS),
        (LetsTimeGoBack, Invariant.TIME),
        (ForgetsWhatDidNotFit, Invariant.ANSWERED),
        (KeepsTargetsAcrossAConflict, Invariant.PERMITTED),
        (KeepsTargetsAcrossAConflict, Invariant.COUNTED),
        (KeepsInvitesAcrossAConflict, Invariant.INVITED),
        (ForgetsBans, Invariant.RULES),
        (ErasesBeforeCommit, Invariant.ERASED),
        (ForgetsToErase, Invariant.ERASED),
        (CountsReactionsOfItsOwnOnly, Invariant.COUNTED),
    ],
)
def test_a_removed_rule_is_found(
    seeds: range, make_store: Any, make_owner: type[ChannelOwner], broken: Invariant
) -> None:
    """The broken owner over sound stores breaks the named invariant, within the budget of the quick run."""
    assert _breaks(seeds, make_store, make_owner, broken)


def _breaks(seeds: range, make_store: Any, make_owner: type[ChannelOwner], broken: Invariant) -> bool:
    found = set()
    for seed in seeds:
        violations = first_violations([seed], make_store, make_owner)
        if violations is not None:
            found |= {violation.invariant for violation in violations[1]}
        if broken in found:
            return True
    pytest.fail(f"{len(seeds)} schedules broke only {found or 'nothing'}")
