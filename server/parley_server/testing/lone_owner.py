"""An owner by itself over stores in memory, and a few commands for it."""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING, Any

from parley_server.backends.memory.feed import MemoryFeed
from parley_server.chat.command import CreateChannel, PostMessage
from parley_server.chat.erasure import Eraser
from parley_server.chat.event import ChannelKind, HistoryVisibility
from parley_server.chat.fanout import Fanout
from parley_server.chat.hub import Hub
from parley_server.chat.owner import ChannelOwner, OwnerLimits, OwnerPorts
from parley_server.chat.separate_commits import SeparateCommits
from parley_server.ports.message_log import StoreUnavailable
from parley_server.testing.manual_clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from parley_server.backends.memory.message_log import MemoryMessageLog
    from parley_server.backends.memory.projections import MemoryProjections
    from parley_server.chat.command import Command
    from parley_server.chat.event import Event

NOW_MS = 1_760_000_000_000

CREATE = CreateChannel(
    "ann",
    ChannelKind.GROUP,
    "Us",
    ("ann", "bob", "cho"),
    HistoryVisibility.FROM_JOINING,
    10,
    "0199c82c-c000-7000-8000-000000000000",
    bytes(32),
)
"""ann makes a group of herself, bob and cho: events 1 to 4."""


def post(actor_id: str, number: int) -> PostMessage:
    """A message of somebody's, under his id of this number (from 1 on), which is dated NOW_MS."""
    return PostMessage(actor_id, f"0199c82c-c000-7000-8000-{number:012x}", bytes(32), "hello")


class StandInUsers:
    """Everybody exists but those in `deleted`; while it is `down` nobody is told."""

    def __init__(self) -> None:
        self.deleted: set[str] = set()
        self.down = False

    async def existing(self, user_ids: Sequence[str]) -> set[str]:
        """Who of them exists. Raises StoreUnavailable."""
        if self.down:
            raise StoreUnavailable("planted")
        return set(user_ids) - self.deleted


class Announcements(Fanout):
    """Keeps in `made` what was announced: to whom, and which seqs."""

    def __init__(self) -> None:
        super().__init__(Hub(), MemoryFeed("epoch"), write_limit=500)
        self.made: list[tuple[set[str], list[int]]] = []

    async def publish(
        self,
        channel_id: str,
        members_after: Collection[str],
        events: Sequence[Event],
        encoded: Sequence[bytes],
    ) -> None:
        """Announce, and keep that."""
        self.made.append((set(members_after), [event.seq for event in events]))
        await super().publish(channel_id, members_after, events, encoded)


def owner_ports(
    log: MemoryMessageLog,
    projections: MemoryProjections,
    fanout: Fanout | None = None,
    users: StandInUsers | None = None,
) -> OwnerPorts:
    """What an owner works with, on these stores, at NOW_MS. No two ask for the same batch ids."""
    writer = uuid.uuid4().bytes[:8]
    numbers = itertools.count()
    return OwnerPorts(
        log,
        projections,
        SeparateCommits(log, projections),
        fanout or Announcements(),
        ManualClock(now_ms=NOW_MS),
        lambda: writer + next(numbers).to_bytes(8, "big"),
        Eraser(log, projections),
        users or StandInUsers(),
    )


class LoneOwner:
    """The owner of channel "c" on a node that nobody else is on. Several on the same stores are nodes that do
    not know of each other.
    """

    def __init__(self, log: MemoryMessageLog, projections: MemoryProjections, **limits: Any) -> None:
        self.fanout, self.users = Announcements(), StandInUsers()
        ports = owner_ports(log, projections, self.fanout, self.users)
        self.owner = ChannelOwner("c", ports, OwnerLimits(**limits))

    async def do(self, *commands: Command) -> list[Any]:
        """Give it the commands at once. What each is answered with: a Done, or the Refusal."""
        answers = [self.owner.enqueue(command) for command in commands]
        await self.owner.drain()
        await self.owner.mark_fanned()
        return [answer.exception() or answer.result() for answer in answers]
