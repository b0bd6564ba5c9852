"""What lets users into a group, and what keeps them out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parley.channel.v1 import channel_service_pb2


@dataclass(frozen=True, slots=True)
class Invite:
    """An invite to a group: who made it, until when it can be used, by how many users, and how many did.

    `code` is what the invited user gives to `Client.join`; only `Channel.create_invite` tells it, it is ""
    otherwise. `use_limit` 0 means any number of users. Times are in milliseconds since 1970-01-01 UTC.
    """

    invite_id: str
    creator_id: str
    create_time_ms: int
    expire_time_ms: int
    use_limit: int
    uses: int
    code: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Ban:
    """A user who may not be a member of a group: who banned the user, and when (milliseconds since 1970-01-01
    UTC).
    """

    user_id: str
    actor_id: str
    create_time_ms: int


def invite_of(invite: channel_service_pb2.Invite, code: str = "") -> Invite:
    """The invite that a message of the contract carries."""
    return Invite(
        invite_id=invite.invite_id,
        creator_id=invite.creator_id,
        create_time_ms=invite.create_time.ToMilliseconds(),
        expire_time_ms=invite.expire_time.ToMilliseconds(),
        use_limit=invite.use_limit,
        uses=invite.uses,
        code=code,
    )


def ban_of(ban: channel_service_pb2.Ban) -> Ban:
    """The ban that a message of the contract carries."""
    return Ban(user_id=ban.user_id, actor_id=ban.actor_id, create_time_ms=ban.create_time.ToMilliseconds())
