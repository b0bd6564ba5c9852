"""Rules about announcing events, each removed once: what to announce after a crash, and to whom.

The rules are removed in subclasses here; the product has no switch for any of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from parley_server.chat.activation import activate
from parley_server.chat.owner import ChannelOwner
from parley_server.ports.message_log import Committed
from parley_server.testing.checker import Invariant
from parley_server.testing.passing_port import PassingPort

if TYPE_CHECKING:
    from tests.model.conftest import AssertBreaks

    from parley_server.chat.batch import Batch
    from parley_server.chat.channel_state import ChannelState
    from parley_server.chat.owner import OwnerLimits, OwnerPorts


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


class ReadsMembersUnchecked(ChannelOwner):
    """Takes head and members from different moments for one state."""

    def __init__(self, channel_id: str, ports: OwnerPorts, limits: OwnerLimits) -> None:
        projections: Any = _StandsStill(ports.projections)
        super().__init__(channel_id, replace(ports, projections=projections), limits)


class _StandsStill(PassingPort):
    _row: Any = None

    async def channel(self, channel_id: str) -> Any:
        self._row = await self._port.channel(channel_id)
        return self._row

    async def watermark(self, channel_id: str) -> int:
        row, self._row = self._row, None
        watermark: int = row.watermark if row else await self._port.watermark(channel_id)
        return watermark


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


class _ToThoseOfTheHead(PassingPort):
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


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("make_owner", "broken"),
    [
        (NeverMarksActive, Invariant.ACTIVE),
        (MarksActiveOnce, Invariant.ACTIVE),
        (MarksActiveAfterwards, Invariant.ACTIVE),
        (ReadsMembersUnchecked, Invariant.ANNOUNCED),
        (AnnouncesOnlyItsOwn, Invariant.ANNOUNCED),
        (AnnouncesOldEventsToNewMembers, Invariant.ANNOUNCED),
        (MarksFannedTooEarly, Invariant.MARKS),
    ],
)
def test_a_removed_rule_is_found(
    assert_breaks: AssertBreaks, make_owner: type[ChannelOwner], broken: Invariant
) -> None:
    """The broken owner over sound stores breaks the named invariant, within the budget of the quick run."""
    assert_breaks(make_owner, broken)
