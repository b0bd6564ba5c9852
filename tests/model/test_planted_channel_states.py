"""Rules about the state from which an owner decides, each removed once: it is that of the log.

The rules are removed in subclasses here; the product has no switch for any of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from parley_server.chat.owner import ChannelOwner
from parley_server.testing.checker import Invariant

if TYPE_CHECKING:
    from tests.model.conftest import AssertBreaks

    from parley_server.chat.batch import Batch
    from parley_server.chat.channel_state import ChannelState


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


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("make_owner", "broken"),
    [
        (LetsTimeGoBack, Invariant.TIME),
        (KeepsTargetsAcrossAConflict, Invariant.PERMITTED),
        (KeepsTargetsAcrossAConflict, Invariant.COUNTED),
        (KeepsInvitesAcrossAConflict, Invariant.INVITED),
        (ForgetsBans, Invariant.RULES),
        (CountsReactionsOfItsOwnOnly, Invariant.COUNTED),
    ],
)
def test_a_removed_rule_is_found(
    assert_breaks: AssertBreaks, make_owner: type[ChannelOwner], broken: Invariant
) -> None:
    """The broken owner over sound stores breaks the named invariant, within the budget of the quick run."""
    assert_breaks(make_owner, broken)
