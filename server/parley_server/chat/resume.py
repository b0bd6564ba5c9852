"""How a device's past connects to its new stream. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_server.chat.session import Start

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


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
    changed: Iterable[str],
    heads: Mapping[str, int],
    watched: Iterable[str],
    known: Mapping[str, int],
    *,
    replay_limit_events: int,
) -> Resume:
    """How to go on from a cursor of this epoch.

    `position` is the cursor's; `changed` the channels that the feed announced after it, newest first; `heads`
    where the logs end as far as the user may see; `watched` channels too big for the feed; `known` what the
    client says it has. Missed events follow only if the client named every channel in question and there are
    few enough of them.

    A channel may have been written to and not announced yet: then the feed knows nothing, but its head is
    beyond what the client has.
    """
    behind = {channel_id: heads[channel_id] for channel_id in changed if channel_id in heads}
    for channel_id in watched:
        if known.get(channel_id) != heads[channel_id]:
            behind.setdefault(channel_id, heads[channel_id])
    for channel_id, seq in known.items():
        if seq < heads.get(channel_id, 0):
            behind.setdefault(channel_id, heads[channel_id])
    if not behind:
        return Continued()
    if all(channel_id in known for channel_id in behind):
        since = {channel_id: min(known[channel_id], head) for channel_id, head in behind.items()}
        if sum(behind[channel_id] - seq for channel_id, seq in since.items()) <= replay_limit_events:
            return Replayed(position, since)
    return Digested(tuple(behind))


def start_of(
    resume: Resume,
    position_now: int,
    heads: Mapping[str, int],
    members: Collection[str],
    known: Mapping[str, int],
) -> Start:
    """Where the session begins. `position_now` is the feed's, read before the `heads`; `members` are the
    channels among them that the user is in now.
    """
    next_seqs = {channel_id: heads[channel_id] + 1 for channel_id in members}
    match resume:
        case Reset():
            return Start(position_now, next_seqs)
        case Replayed(position=position, since=since):
            next_seqs.update((channel_id, seq + 1) for channel_id, seq in since.items())
            told: Collection[str] = since
        case Digested(channel_ids=channel_ids):
            position, told = position_now, channel_ids
            next_seqs.update((channel_id, heads[channel_id] + 1) for channel_id in channel_ids)
        case Continued():
            position, told = position_now, ()
    # A client may know channels that its user has left, and the event of leaving may still be on its way.
    next_seqs.update(
        (channel_id, seq + 1) for channel_id, seq in known.items() if channel_id not in next_seqs
    )
    # The head may be beyond what was announced, so it does not tell how far a client is that did not say so.
    unsure = [channel_id for channel_id in members if channel_id not in known and channel_id not in told]
    return Start(position, next_seqs, tuple(told) if isinstance(resume, Replayed) else (), unsure)
