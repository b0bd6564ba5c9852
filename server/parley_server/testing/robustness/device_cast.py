"""Who talks where in a run with devices: 8 users, 20 devices, groups that some come to and go from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_server.testing.robustness.cast import Cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.testing.raw_client import Person, RawClient

SENDERS = 5
STAYERS = 4
DEVICES_OF_USERS = (3, 3, 3, 3, 2, 2, 2, 2)
_PAIRS = ((0, 1), (2, 3), (0, 4), (1, 5), (2, 6), (3, 7))


@dataclass(frozen=True, slots=True)
class Roamer:
    """A user who is added to and removed from a group by its owner; not in it at first."""

    owner: Person
    channel_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class DeviceCast:
    """`users` are log-ins of their own beside their `devices` (a list per user). `members` are those of each
    channel who never leave, its owner first.

    The first `STAYERS` users never leave a channel that they are in; the first `SENDERS` send.
    """

    users: tuple[Person, ...]
    devices: tuple[tuple[Person, ...], ...]
    members: dict[str, list[str]]
    roamers: tuple[Roamer, ...]

    @property
    def stayers(self) -> Cast:
        """The users whose channels and inboxes can be read back whole, in the channels where they stay."""
        people = self.users[:STAYERS]
        ids = {person.user_id for person in people}
        members = {
            channel_id: [user_id for user_id in members if user_id in ids]
            for channel_id, members in self.members.items()
        }
        return Cast(people, (), members)

    def channels_of(self, person: Person) -> list[str]:
        """The channels that the user never leaves."""
        return [channel_id for channel_id, members in self.members.items() if person.user_id in members]


async def gather_device_cast(client: RawClient) -> DeviceCast:
    """Sign everybody up; make a group of all, three that people come to and go from, and direct channels."""
    users = [await client.sign_up(f"user{number}") for number in range(len(DEVICES_OF_USERS))]
    devices = [
        tuple([await client.log_in(user.username) for _ in range(count)])
        for user, count in zip(users, DEVICES_OF_USERS, strict=True)
    ]
    members: dict[str, list[str]] = {}
    roamers: list[Roamer] = []

    async def group(inside: Sequence[Person], roaming: Sequence[Person]) -> None:
        channel_id = await client.group(inside[0], inside[1:])
        members[channel_id] = [person.user_id for person in inside]
        roamers.extend(Roamer(inside[0], channel_id, person.user_id) for person in roaming)

    await group(users, ())
    await group(users[:4], users[4:])
    await group(users[1:4], users[5:])
    await group(users[2:4], users[4:7])
    for one, other in _PAIRS:
        channel_id = await client.direct(users[one], users[other])
        members[channel_id] = [users[one].user_id, users[other].user_id]
    return DeviceCast(tuple(users), tuple(devices), members, tuple(roamers))
