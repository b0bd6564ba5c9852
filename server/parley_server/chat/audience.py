"""Who gets which events of a batch. Pure.

A device's stream of a channel begins with the event that made its user a member and ends with the one that
ended it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from parley_server.chat.event import Event, MemberChange, MemberChanged

if TYPE_CHECKING:
    from collections.abc import Sequence


class Audience(msgspec.Struct, frozen=True):
    """`steady` users get the whole batch, except those in `passing`, who get just the events listed for them
    (by index).
    """

    steady: Collection[str]
    passing: dict[str, tuple[int, ...]]


def audience_of(members_after: Collection[str], events: Sequence[Event]) -> Audience:
    """The audience of a batch, from the members after it."""
    changes = [
        (index, event.body) for index, event in enumerate(events) if isinstance(event.body, MemberChanged)
    ]
    if not changes:
        return Audience(members_after, {})
    passing = {}
    for user_id in {change.user_id for _, change in changes}:
        own = [(index, change) for index, change in changes if change.user_id == user_id]
        # The first change tells what was before it: only members leave, and only ADDED makes one.
        present = own[0][1].change is not MemberChange.ADDED
        seen: list[int] = []
        start = 0
        for index, change in own:
            if present:
                seen.extend(range(start, index))
            if present or change.role is not None:
                seen.append(index)
            present, start = change.role is not None, index + 1
        if present:
            seen.extend(range(start, len(events)))
        passing[user_id] = tuple(seen)
    return Audience(members_after, passing)
