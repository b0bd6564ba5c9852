"""Who may do what in a channel: one table. Pure.

In a direct channel both users are plain members; what is about the conversation both may do, and there is
nothing else to administer.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from parley_runtime.refusal import Reason, Refusal
from parley_server.chat.event import ChannelKind, Role

if TYPE_CHECKING:
    from collections.abc import Mapping


class Right(enum.Enum):
    """What needs more than being a member."""

    ADD_MEMBERS = "add members"
    REMOVE_MEMBERS = "remove members"
    BAN = "ban users"
    MANAGE_INVITES = "make and revoke invites"
    CHANGE_SETTINGS = "change the channel's settings"
    DELETE_MESSAGES_OF_OTHERS = "delete messages of others"
    PIN = "pin messages"
    MENTION_ALL = "mention everybody"
    PASS_SLOW_MODE = "write without waiting in slow mode"
    SET_ROLES = "change roles"
    DELETE_CHANNEL = "delete the channel"


NEEDS: Final[Mapping[Right, Role]] = {
    Right.ADD_MEMBERS: Role.ADMIN,
    Right.REMOVE_MEMBERS: Role.ADMIN,
    Right.BAN: Role.ADMIN,
    Right.MANAGE_INVITES: Role.ADMIN,
    Right.CHANGE_SETTINGS: Role.ADMIN,
    Right.DELETE_MESSAGES_OF_OTHERS: Role.ADMIN,
    Right.PIN: Role.ADMIN,
    Right.MENTION_ALL: Role.ADMIN,
    Right.PASS_SLOW_MODE: Role.ADMIN,
    Right.SET_ROLES: Role.OWNER,
    Right.DELETE_CHANNEL: Role.OWNER,
}
"""The least role that has the right in a group."""

_BOTH_IN_DIRECT: Final = frozenset({Right.PIN, Right.MENTION_ALL})


def has_right(kind: ChannelKind, role: Role, right: Right) -> bool:
    """Whether a member of this role has the right."""
    if kind is ChannelKind.DIRECT:
        return right in _BOTH_IN_DIRECT
    return role >= NEEDS[right]


def right_missing(right: Right) -> Refusal:
    """The answer to a member who lacks the right."""
    role = NEEDS[right]
    return Refusal(
        Reason.ROLE_REQUIRED,
        f"To {right.value} you need the role {role.name.lower()} in the channel. Ask an owner.",
        metadata={"role": role.name},
    )
