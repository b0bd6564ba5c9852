"""What events do to the rows of messages that they are about. Pure, and the same for every backend."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parley_server.chat.event import (
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PinChanged,
    ReactionChanged,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parley_server.chat.event import Event, EventBody

REACTING_USERS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message to which something happened, without its reactions. `pin_author_id` is who wrote a pinned
    message, empty where `pin_seq` is 0.
    """

    edit_seq: int = 0
    edit_time_ms: int = 0
    delete_seq: int = 0
    pin_seq: int = 0
    pin_author_id: str = ""
    reply_count: int = 0
    last_reply_seq: int = 0


@dataclass(frozen=True, slots=True)
class EmojiRow:
    """An emoji on a message: how many users have it there, and the seq since which it never was without."""

    count: int
    first_seq: int


@dataclass(slots=True)
class MessageChanges:
    """The rows of messages that are other after the events; None for what is no more.

    `reactions` are keyed by (message, emoji, user) and hold the seq at which it was put there. The messages
    in `cleared` lose all emojis and reactions, nothing of these two is in the other fields. `edits` and
    `replies` are pairs of the message and the event that is new for it.
    """

    messages: dict[int, MessageRow] = field(default_factory=dict)
    cleared: set[int] = field(default_factory=set)
    emojis: dict[tuple[int, str], EmojiRow | None] = field(default_factory=dict)
    reactions: dict[tuple[int, str, str], int | None] = field(default_factory=dict)
    edits: list[tuple[int, int]] = field(default_factory=list)
    replies: list[tuple[int, int]] = field(default_factory=list)


def needed_of_message(body: EventBody, message_seqs: set[int], emojis: set[tuple[int, str]]) -> None:
    """Add the rows that `derive_message` looks at."""
    match body:
        case MessagePosted(thread_root_seq=root_seq):
            if root_seq:
                message_seqs.add(root_seq)
        case ReactionChanged(target_seq=target_seq, emoji=emoji):
            message_seqs.add(target_seq)
            emojis.add((target_seq, emoji))
        case (
            MessageEdited(target_seq=target_seq)
            | MessageDeleted(target_seq=target_seq)
            | PinChanged(target_seq=target_seq)
        ):
            message_seqs.add(target_seq)
        case _:
            pass


def derive_message(
    messages: Mapping[int, MessageRow],
    emojis: Mapping[tuple[int, str], EmojiRow],
    changes: MessageChanges,
    event: Event,
    body: EventBody,
) -> None:
    """Take an event about a message into `changes`; `messages` and `emojis` are the rows before them."""

    def before(seq: int) -> MessageRow:
        return changes.messages.get(seq) or messages.get(seq) or MessageRow()

    match body:
        case MessagePosted(thread_root_seq=root_seq):
            if root_seq:
                row = before(root_seq)
                changes.messages[root_seq] = replace(
                    row, reply_count=row.reply_count + 1, last_reply_seq=event.seq
                )
                changes.replies.append((root_seq, event.seq))
        case MessageEdited(target_seq=seq):
            changes.messages[seq] = replace(
                before(seq), edit_seq=event.seq, edit_time_ms=event.create_time_ms
            )
            changes.edits.append((seq, event.seq))
        case MessageDeleted(target_seq=seq):
            changes.messages[seq] = replace(before(seq), delete_seq=event.seq, pin_seq=0, pin_author_id="")
            changes.cleared.add(seq)
            changes.emojis = {key: row for key, row in changes.emojis.items() if key[0] != seq}
            changes.reactions = {key: at for key, at in changes.reactions.items() if key[0] != seq}
        case PinChanged(target_seq=seq, pinned=pinned, author_id=author_id):
            changes.messages[seq] = replace(
                before(seq),
                pin_seq=event.seq if pinned else 0,
                pin_author_id=author_id if pinned else "",
            )
        case ReactionChanged() as reaction:
            changes.messages[reaction.target_seq] = before(reaction.target_seq)
            _react(emojis, changes, event, reaction)
        case _:
            pass


def unpin_author(messages: Mapping[int, MessageRow], changes: MessageChanges, user_id: str) -> None:
    """Take away the pins of what the user wrote; `messages` holds all that were pinned before."""
    for seq, row in (dict(messages) | changes.messages).items():
        if row.pin_seq and row.pin_author_id == user_id:
            changes.messages[seq] = replace(row, pin_seq=0, pin_author_id="")


def _react(
    emojis: Mapping[tuple[int, str], EmojiRow],
    changes: MessageChanges,
    event: Event,
    reaction: ReactionChanged,
) -> None:
    key = (reaction.target_seq, reaction.emoji)
    before = changes.emojis[key] if key in changes.emojis else emojis.get(key)
    changes.emojis[key] = (
        EmojiRow(reaction.count, event.seq if before is None else before.first_seq)
        if reaction.count > 0
        else None
    )
    changes.reactions[*key, event.actor_id] = event.seq if reaction.added else None
