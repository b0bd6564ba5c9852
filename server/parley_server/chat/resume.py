"""How a device's past connects to its new stream. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parley_server.ports.feed import FeedEntry


class ResetCause(enum.IntEnum):
    """As `parley.chat.v1.ResetReason`."""

    NO_CURSOR = 1
    EPOCH_CHANGED = 3
    MALFORMED = 4


@dataclass(frozen=True, slots=True)
class Reset:
    """The client is told the heads of all its channels."""

    cause: ResetCause


@dataclass(frozen=True, slots=True)
class Continued:
    """Nothing was missed."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was missed after `position` follows: per channel the seqs after `since[channel]`."""

    position: int
    since: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Digested:
    """The client is told the heads of these channels, newest change first."""

    channel_ids: tuple[str, ...]


Resume = Reset | Continued | Replayed | Digested


def decide_resume(
    position: int,
    changed: Sequence[FeedEntry],
    heads: Mapping[str, int],
    watched: Mapping[str, int],
    known: Mapping[str, int],
    *,
    replay_limit_events: int,
) -> Resume:
    """How to go on from a cursor of this epoch.

    `position` is the cursor's; `changed` are the feed's entries after it, newest first; `heads` where the
    logs end as far as the user may see; `watched` the heads of channels too big for the feed; `known` what
    the client says it has. Missed events follow only if the client named every channel in question and there
    are few enough of them.
    """
    behind = {entry.channel_id: heads.get(entry.channel_id, entry.head_seq) for entry in changed}
    for channel_id, head_seq in watched.items():
        if known.get(channel_id) != head_seq:
            behind.setdefault(channel_id, head_seq)
    if not behind:
        return Continued()
    if all(channel_id in known for channel_id in behind):
        since = {channel_id: min(known[channel_id], head) for channel_id, head in behind.items()}
        if sum(behind[channel_id] - seq for channel_id, seq in since.items()) <= replay_limit_events:
            return Replayed(position, since)
    return Digested(tuple(behind))
