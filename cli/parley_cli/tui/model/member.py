"""Who is in a channel, and what they may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

RANKS = {"owner": 0, "admin": 1, "member": 2}
"""Roles, the highest first."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `role` is a key of RANKS, or "" for one that this version does not know."""

    user_id: str
    name: str
    role: str
    read_seq: int = 0


def sorted_members(members: Iterable[Member]) -> tuple[Member, ...]:
    """The highest roles first, then by name."""
    return tuple(sorted(members, key=lambda each: (RANKS.get(each.role, 9), each.name)))


def may_manage(role: str) -> bool:
    """Whether the role lets one invite, pin, and remove members and messages of others."""
    return role in ("owner", "admin")


def choices_about(member: Member, me: Member | None) -> list[tuple[str, str]]:
    """What the user may do about a member: (name of the deed, words), mildest first."""
    if me is None or member.user_id == me.user_id:
        return []
    found = [("direct", f"write to @{member.name}")]
    if me.role == "owner":
        found += [
            (f"role:{role}", f"make @{member.name} {'an' if role[0] in 'ao' else 'a'} {role}")
            for role in ("member", "admin", "owner")
            if role != member.role
        ]
    higher = RANKS.get(me.role, 9) < RANKS.get(member.role, 9)
    if may_manage(me.role) and higher:
        found += [("remove", f"remove @{member.name}"), ("ban", f"ban @{member.name}")]
    return found
