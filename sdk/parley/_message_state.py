"""What became of a message after it was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parley.chat.v1 import event_pb2


@dataclass(frozen=True, slots=True)
class Reaction:
    """One emoji on a message: how many users put it there, and whether the caller is one of them.

    `user_ids` are some of these users, those of longest standing first, at most ten when the server tells
    them. They are no part of a comparison: who the others are is not known to everybody.
    """

    emoji: str
    count: int
    own: bool
    user_ids: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class MessageState:
    """What became of a message up to the event `as_of_seq`. Seqs and times are 0 for what never happened.

    `edit_seq` is the newest edit's event, `edit_time_ms` its time (milliseconds since 1970-01-01 UTC),
    `delete_seq` the event that made the message a tombstone, `pin_seq` the one that pinned it. `reactions`
    stand in the order in which their emoji came. `reply_count` messages stand in its thread, tombstones
    included, the newest at `last_reply_seq`.
    """

    as_of_seq: int
    edit_seq: int = 0
    edit_time_ms: int = 0
    delete_seq: int = 0
    pin_seq: int = 0
    reactions: tuple[Reaction, ...] = ()
    reply_count: int = 0
    last_reply_seq: int = 0

    @property
    def edited(self) -> bool:
        """Whether its content is not the first one."""
        return self.edit_seq > 0

    @property
    def deleted(self) -> bool:
        """Whether it is a tombstone: nobody is told its text any more."""
        return self.delete_seq > 0


def message_state_of(state: event_pb2.MessageState) -> MessageState:
    """The state that a message of the contract carries."""
    return MessageState(
        as_of_seq=state.as_of_seq,
        edit_seq=state.edit_seq,
        edit_time_ms=state.edit_time_ms,
        delete_seq=state.delete_seq,
        pin_seq=state.pin_seq,
        reactions=tuple(
            Reaction(reaction.emoji, reaction.count, reaction.own, tuple(reaction.user_ids))
            for reaction in state.reactions
        ),
        reply_count=state.reply_count,
        last_reply_seq=state.last_reply_seq,
    )
