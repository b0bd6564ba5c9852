"""Who talks where in a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parley_server.testing.raw_client import Person, RawClient


@dataclass(frozen=True, slots=True)
class Cast:
    """The users and their channels. `members` has every channel's user ids, the maker first.

    Every channel has several senders.
    """

    senders: tuple[Person, ...]
    watchers: tuple[Person, ...]
    members: dict[str, list[str]]

    @property
    def everybody(self) -> tuple[Person, ...]:
        """All users."""
        return (*self.senders, *self.watchers)

    def channels_of(self, person: Person) -> list[str]:
        """The channels that the user is in."""
        return [channel_id for channel_id, members in self.members.items() if person.user_id in members]


async def gather_cast(client: RawClient, senders: int) -> Cast:
    """Sign up `senders` senders and two watchers; make one group of all, three overlapping ones, and a direct
    channel for every two neighbours.
    """
    people = [await client.sign_up(f"sender{number}") for number in range(senders)]
    watchers = [await client.sign_up(f"watcher{number}") for number in range(2)]
    members: dict[str, list[str]] = {}

    async def group(inside: list[Person]) -> None:
        channel_id = await client.group(inside[0], inside[1:])
        members[channel_id] = [person.user_id for person in inside]

    half, quarter = senders // 2, senders // 4
    await group([*people, *watchers])
    await group([*people[:half], watchers[0]])
    await group([*people[quarter : quarter + half], watchers[1]])
    await group([*people[half:], *watchers])
    for one, other in zip(people[::2], people[1::2], strict=False):
        members[await client.direct(one, other)] = [one.user_id, other.user_id]
    return Cast(tuple(people), tuple(watchers), members)
