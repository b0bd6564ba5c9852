"""Who changes what in a run with changes: 7 users, 2 groups that two of them come to and go from, one direct
channel, an eighth user who deletes the account, and a group that ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley.channel.v1 import channel_pb2, channel_service_pb2
from parley_server.testing.robustness.cast import Cast

if TYPE_CHECKING:
    from parley_server.testing.raw_client import Person, RawClient

USERS = 7
STAYERS = 5
OWNER, ADMIN = 0, 1
DIRECT_PAIR = (2, 3)


@dataclass(frozen=True, slots=True)
class ChangesCast:
    """`users` are log-ins of their own beside their `devices` (a list per user); fewer than ten, so that
    every reaction names all its users. The first `STAYERS` are never removed; the others roam. `groups` show
    their past from joining, and from the start. The `leaver` is in both from the beginning, on one log-in.
    The group `doomed` is deleted by its owner in the middle; all but the roamers are in it until then.
    """

    users: tuple[Person, ...]
    devices: tuple[tuple[Person, ...], ...]
    groups: tuple[str, ...]
    direct: str
    leaver: Person
    doomed: str

    @property
    def roamers(self) -> tuple[Person, ...]:
        """Those who come and go."""
        return self.users[STAYERS:]

    @property
    def stayers(self) -> Cast:
        """Those who can read every log whole."""
        people = self.users[:STAYERS]
        members = {channel_id: [person.user_id for person in people] for channel_id in self.groups}
        members[self.direct] = [self.users[number].user_id for number in DIRECT_PAIR]
        return Cast(people, (), members)

    def channels_of(self, person: Person) -> list[str]:
        """Where the user may be a member at the end."""
        pair = {self.users[number].user_id for number in DIRECT_PAIR}
        return [*self.groups, self.direct] if person.user_id in pair else list(self.groups)

    @property
    def all_channels(self) -> tuple[str, ...]:
        """Every channel of the run."""
        return (*self.groups, self.direct, self.doomed)


async def gather_changes_cast(client: RawClient, devices_per_user: int) -> ChangesCast:
    """Sign everybody up and make the channels. The second user is an admin of both groups, the last two are
    no members at first.
    """
    users = [await client.sign_up(f"user{number}") for number in range(USERS)]
    devices = [tuple([await client.log_in(user.username) for _ in range(devices_per_user)]) for user in users]
    leaver = await client.sign_up("leaver")
    groups = [
        await client.group(users[OWNER], [*users[1:STAYERS], leaver], history_visibility=visibility)
        for visibility in (
            channel_pb2.HISTORY_VISIBILITY_FROM_JOINING,
            channel_pb2.HISTORY_VISIBILITY_FROM_START,
        )
    ]
    doomed = await client.group(users[OWNER], [*users[1:STAYERS], leaver])
    for channel_id in groups:
        request = channel_service_pb2.SetMemberRoleRequest(
            channel_id=channel_id, user_id=users[ADMIN].user_id, role=channel_pb2.ROLE_ADMIN
        )
        await client.channels.SetMemberRole(request, metadata=users[OWNER].metadata)
    direct = await client.direct(*(users[number] for number in DIRECT_PAIR))
    return ChangesCast(tuple(users), tuple(devices), tuple(groups), direct, leaver, doomed)
