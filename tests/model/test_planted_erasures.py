"""Rules about erasing a deleted text, each removed once.

The rules are removed in subclasses here; the product has no switch for any of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from parley_server.chat.erasure import Eraser
from parley_server.chat.event import MessageDeleted
from parley_server.chat.owner import ChannelOwner
from parley_server.testing.checker import Invariant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.model.conftest import AssertBreaks

    from parley_server.chat.batch import Batch
    from parley_server.chat.event import Event
    from parley_server.chat.owner import OwnerLimits, OwnerPorts


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


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("make_owner", "broken"),
    [
        (ErasesBeforeCommit, Invariant.ERASED),
        (ForgetsToErase, Invariant.ERASED),
    ],
)
def test_a_removed_rule_is_found(
    assert_breaks: AssertBreaks, make_owner: type[ChannelOwner], broken: Invariant
) -> None:
    """The broken owner over sound stores breaks the named invariant, within the budget of the quick run."""
    assert_breaks(make_owner, broken)
