"""Rules about ids that clients make, each removed once: a retry is known for what it is.

The rules are removed in subclasses here; the product has no switch for any of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_server.chat import codec
from parley_server.chat.client_id import AHEAD_LIMIT_MS
from parley_server.chat.command import client_id_of
from parley_server.chat.known_ids import KnownIds, Sent
from parley_server.chat.owner import ChannelOwner
from parley_server.testing.checker import Invariant
from parley_server.testing.schedule import LIMITS

if TYPE_CHECKING:
    from tests.model.conftest import AssertBreaks

    from parley_server.chat.channel_state import ChannelState
    from parley_server.chat.command import Command


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


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("make_owner", "broken"),
    [
        (ForgetsIdsAtActivation, Invariant.ONE_SEQ),
        (ForgetsIdsWithinABatch, Invariant.ONE_SEQ),
        (ForgetsThatIdsMayBeDatedAhead, Invariant.ONE_SEQ),
        (NeverLooksUp, Invariant.ONE_SEQ),
        (TrustsCandidates, Invariant.ANSWER_IS_ROW),
    ],
)
def test_a_removed_rule_is_found(
    assert_breaks: AssertBreaks, make_owner: type[ChannelOwner], broken: Invariant
) -> None:
    """The broken owner over sound stores breaks the named invariant, within the budget of the quick run."""
    assert_breaks(make_owner, broken)
