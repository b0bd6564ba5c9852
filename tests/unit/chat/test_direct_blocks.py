from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_runtime.at_once import run_at_once
from parley_runtime.refusal import Reason, Refusal
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat.direct_blocks import DirectBlocks
from parley_server.chat.event import ChannelKind
from parley_server.testing.projected_log import LogWriter

if TYPE_CHECKING:
    from collections.abc import Collection


class Blocks:
    """Remembers who was asked for, and has the store asked for everybody else."""

    def __init__(self) -> None:
        self.blocked: set[frozenset[str]] = set()
        self.remembered: set[str] = set()
        self.asked = 0

    def remembers(self, user_id: str) -> bool:
        return user_id in self.remembered

    async def refusal_between(self, one: str, other: str) -> Refusal | None:
        if not {one, other} <= self.remembered:
            self.asked += 1
            self.remembered |= {one, other}
        return Refusal(Reason.BLOCKED, "no") if frozenset((one, other)) in self.blocked else None

    async def blockers_among(self, user_id: str, others: Collection[str]) -> set[str]:
        raise NotImplementedError


class Projections(MemoryProjections):
    reads = 0

    async def channel(self, channel_id: str):  # type: ignore[no-untyped-def]
        self.reads += 1
        return await super().channel(channel_id)


@pytest.fixture
async def projections() -> Projections:
    projections = Projections()
    for name, kind in (("direct", ChannelKind.DIRECT), ("group", ChannelKind.GROUP)):
        log = LogWriter(name, kind=kind)
        log.join("ann")
        log.join("bob")
        await projections.apply(name, log.events)
    return projections


@pytest.mark.parametrize("channel_id", ["direct", "group"])
async def test_what_is_known_is_answered_without_a_store(projections: Projections, channel_id: str) -> None:
    """Known is what was asked once. Planted: without the pair the channel was read again; without either user
    the store of the accounts was asked, by a sender for whom nothing may wait.
    """
    blocks = Blocks()
    direct = DirectBlocks(projections, blocks)
    assert not direct.knows("ann", channel_id)
    assert await direct.refusal("ann", channel_id) is None
    assert direct.knows("ann", channel_id)
    asked = (projections.reads, blocks.asked)
    assert run_at_once(direct.refusal("ann", channel_id)) is None
    assert (projections.reads, blocks.asked) == asked
    assert not direct.knows("bob", channel_id)


@pytest.mark.parametrize("forgotten", ["ann", "bob"])
async def test_who_was_forgotten_must_be_asked_for(projections: Projections, forgotten: str) -> None:
    """After every change of his blocks, so that it counts from the next message on."""
    blocks = Blocks()
    direct = DirectBlocks(projections, blocks)
    await direct.refusal("ann", "direct")
    blocks.remembered.remove(forgotten)
    blocks.blocked.add(frozenset(("ann", "bob")))
    assert not direct.knows("ann", "direct")
    refusal = await direct.refusal("ann", "direct")
    assert refusal is not None
    assert refusal.reason is Reason.BLOCKED


async def test_a_channel_that_nobody_made_is_never_known(projections: Projections) -> None:
    """It may be made at any time."""
    direct = DirectBlocks(projections, Blocks())
    assert await direct.refusal("ann", "nowhere") is None
    assert not direct.knows("ann", "nowhere")
