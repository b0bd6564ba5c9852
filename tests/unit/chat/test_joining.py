"""What a device is told when its stream begins with a reset: its user's channels, and the ends of those that
it knows and its user has left.
"""

from __future__ import annotations

import pytest

from parley_server.backends.memory.feed import MemoryFeed
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.positions import MemoryPositions
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat import codec
from parley_server.chat.cursor import cursor_text
from parley_server.chat.heads import Heads
from parley_server.chat.inbox import Inbox
from parley_server.chat.joining import Joining, Joins
from parley_server.chat.resume import Reset, ResetCause
from parley_server.ports.positions import FeedCursor
from parley_server.testing.projected_log import LogWriter

OF_ANOTHER_EPOCH = cursor_text("bob", FeedCursor("before", 3))
RESETS = {OF_ANOTHER_EPOCH: ResetCause.EPOCH_CHANGED, "garbage": ResetCause.MALFORMED}


class Place:
    """Channels of ann's, in which bob comes and goes, and what bob's devices are told."""

    def __init__(self) -> None:
        self._log = MemoryMessageLog()
        self._projections = MemoryProjections()
        positions = MemoryPositions()
        heads = Heads(Inbox(self._log, self._projections, positions), self._projections, positions)
        self._joins = Joins(
            MemoryFeed("now"), heads, positions, watch_above_members=500, replay_limit_events=1000
        )

    async def channel(self, channel_id: str, *changes: str) -> int:
        """Make a channel in which this happens: "say", "join", "leave". Returns its head."""
        writer = LogWriter(channel_id)
        writer.join("ann")
        for change in changes:
            if change == "say":
                writer.say(actor_id="ann")
            elif change == "join":
                writer.join("bob")
            else:
                writer.leave("bob")
        rows = [codec.row_of(event) for event in writer.events]
        await self._log.append(channel_id, 0, rows, b"b" * 16)
        await self._projections.apply(channel_id, writer.events)
        return len(writer.events)

    async def reset(self, cursor: str, **known: int) -> Joining:
        """Come back with a cursor that is of no use."""
        joining = await self._joins.read("bob", "phone", cursor, known)
        assert joining.resume == Reset(RESETS[cursor])
        return joining


def told(joining: Joining) -> dict[str, int]:
    """The heads that the client is told."""
    return {head.channel_id: head.head_seq for head in joining.told}


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.mark.parametrize("cursor", RESETS)
async def test_a_known_channel_that_was_left_is_named_with_its_end(place: Place, cursor: str) -> None:
    """So the device learns that its user is no member any more. What was written after the end is not
    promised.

    Planted once: a reset that names only the channels that the user is in; another head than the end.
    """
    here = await place.channel("here", "join", "say")
    joined_said_left = 5
    await place.channel("left", "join", "say", "leave", "say", "say")
    joining = await place.reset(cursor, here=3, left=3)
    assert told(joining) == {"here": here, "left": joined_said_left}
    assert dict(joining.start.next_seqs) == {"here": here + 1}


@pytest.mark.parametrize("cursor", RESETS)
async def test_a_channel_that_came_and_went_meanwhile_is_not_named(place: Place, cursor: str) -> None:
    """The device never heard of it. Planted once: all former channels named."""
    here = await place.channel("here", "join")
    await place.channel("fleeting", "say", "join", "say", "leave", "say")
    assert told(await place.reset(cursor, here=2)) == {"here": here}


@pytest.mark.parametrize("cursor", RESETS)
async def test_of_several_memberships_the_last_end_counts(place: Place, cursor: str) -> None:
    """What others wrote since is not the user's. Planted once: the first end."""
    await place.channel("c", "join", "leave", "say", "join", "say", "leave", "say", "say")
    assert told(await place.reset(cursor, c=3)) == {"c": 8}


@pytest.mark.parametrize("cursor", RESETS)
async def test_of_a_channel_that_was_never_ones_own_nothing_is_told(place: Place, cursor: str) -> None:
    """Naming it in Hello does not help, whether it exists or not. Planted once: its head told."""
    await place.channel("foreign", "say")
    assert told(await place.reset(cursor, foreign=1, nowhere=5)) == {}
