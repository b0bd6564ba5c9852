"""Writing messages and changing them: who may, and which event it becomes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal, channel_not_found
from parley_server.chat.command import (
    DeleteMessage,
    EditMessage,
    MessageChangeCommand,
    Pin,
    PostMessage,
    React,
)
from parley_server.chat.event import (
    ChannelKind,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PinChanged,
    ReactionChanged,
)
from parley_server.chat.numbering import answer_again, dated_ahead, holds_already, numbered
from parley_server.chat.permissions import Right, has_right, right_missing

if TYPE_CHECKING:
    from parley_server.chat.channel_state import ChannelState, Target
    from parley_server.chat.command import Done
    from parley_server.chat.event import Event, EventBody, MessageChange
    from parley_server.chat.known_ids import Sent


def decide_post(
    state: ChannelState, command: PostMessage, now_ms: int, older: Sent | None
) -> tuple[Event, ...] | Done | Refusal:
    """A new message, or where it was written before."""
    begun = _begin(state, command, now_ms, older)
    if begun is not None:
        return begun
    if (refusal := _may_post(state, command, max(now_ms, state.last_time_ms))) is not None:
        return refusal
    body = MessagePosted(
        command.text,
        command.attributes,
        _members_among(state, command.mentions),
        command.mention_all,
        command.reply_to_seq,
        command.thread_root_seq,
    )
    return _one(state, body, command, now_ms)


def decide_change(
    state: ChannelState, command: MessageChangeCommand, now_ms: int, older: Sent | None
) -> tuple[Event, ...] | Done | Refusal:
    """A change of one message, or where it was made before."""
    begun = _begin(state, command, now_ms, older)
    if begun is not None:
        return begun
    target = state.targets.get(command.target_seq)
    if target is None:
        return message_not_found()
    change: MessageChange | Refusal | None
    match command:
        case EditMessage():
            change = _edit(state, command, target, max(now_ms, state.last_time_ms))
        case DeleteMessage():
            change = _delete(state, command, target)
        case React():
            change = _react(state, command, target)
        case Pin():
            change = _pin(state, command, target)
    if isinstance(change, Refusal):
        return change
    return holds_already(state) if change is None else _one(state, change, command, now_ms)


def message_not_found() -> Refusal:
    """The one answer for a seq without a message and for a message that one may not see."""
    return Refusal(
        Reason.MESSAGE_NOT_FOUND,
        "There is no message at this seq, or it is from before your time in the channel.",
    )


def _begin(
    state: ChannelState, command: PostMessage | MessageChangeCommand, now_ms: int, older: Sent | None
) -> Done | Refusal | None:
    # Before any permission: a retry is answered as the first try was, even if the sender was removed since.
    sent = state.sent_before(command, command.client_message_id, older)
    if sent is not None:
        return answer_again(sent, command.digest)
    if command.actor_id not in state.roles or state.deleted:
        return channel_not_found()
    create_time_ms = max(now_ms, state.last_time_ms)
    return dated_ahead("client_message_id", command.client_message_id, create_time_ms)


def _one(
    state: ChannelState, body: EventBody, command: PostMessage | MessageChangeCommand, now_ms: int
) -> tuple[Event, ...]:
    return numbered(
        state,
        (body,),
        command.actor_id,
        now_ms,
        client_id=command.client_message_id,
        digest=command.digest,
    )


def _may_post(state: ChannelState, command: PostMessage, create_time_ms: int) -> Refusal | None:
    role = state.roles[command.actor_id]
    if state.kind is ChannelKind.DIRECT and len(state.roles) < 2:
        return Refusal(
            Reason.USER_DELETED, "The other user of this direct channel deleted the account. Nobody reads it."
        )
    if command.mention_all and not has_right(state.kind, role, Right.MENTION_ALL):
        return right_missing(Right.MENTION_ALL)
    for seq in {command.reply_to_seq, command.thread_root_seq} - {0}:
        target = state.targets.get(seq)
        if target is None:
            return message_not_found()
        if target.deleted:
            return _deleted()
        if seq == command.thread_root_seq and target.thread_root_seq:
            return Refusal(
                Reason.NESTED_THREAD,
                f"Message {seq} is itself in the thread of {target.thread_root_seq}: answer there.",
                metadata={"thread_root_seq": str(target.thread_root_seq)},
            )
    if state.slow_mode_seconds and not has_right(state.kind, role, Right.PASS_SLOW_MODE):
        last_ms = state.last_post_ms.get(command.actor_id)
        wait_ms = 0 if last_ms is None else last_ms + 1000 * state.slow_mode_seconds - create_time_ms
        if wait_ms > 0:
            return Refusal(
                Reason.SLOW_MODE,
                f"The channel is in slow mode: one message every {state.slow_mode_seconds} seconds. "
                "Send it later.",
                retry_after_seconds=wait_ms / 1000,
            )
    return None


def _edit(
    state: ChannelState, command: EditMessage, target: Target, create_time_ms: int
) -> MessageEdited | Refusal:
    if target.author_id != command.actor_id:
        return Refusal(Reason.NOT_AUTHOR, "Only who wrote a message may edit it.")
    if target.deleted:
        return _deleted()
    window_ms = 1000 * state.limits.edit_window_seconds
    if window_ms and create_time_ms > target.create_time_ms + window_ms:
        return Refusal(
            Reason.EDIT_WINDOW_OVER,
            f"Messages can be edited for {state.limits.edit_window_seconds} seconds here. Write a new one.",
            metadata={"edit_window_seconds": str(state.limits.edit_window_seconds)},
        )
    role = state.roles[command.actor_id]
    if command.mention_all and not has_right(state.kind, role, Right.MENTION_ALL):
        return right_missing(Right.MENTION_ALL)
    return MessageEdited(
        command.target_seq,
        command.text,
        command.attributes,
        _members_among(state, command.mentions),
        command.mention_all,
    )


def _delete(state: ChannelState, command: DeleteMessage, target: Target) -> MessageDeleted | Refusal | None:
    if target.author_id != command.actor_id:
        if state.kind is ChannelKind.DIRECT:
            return Refusal(Reason.NOT_AUTHOR, "In a direct channel only who wrote a message may delete it.")
        if not has_right(state.kind, state.roles[command.actor_id], Right.DELETE_MESSAGES_OF_OTHERS):
            return right_missing(Right.DELETE_MESSAGES_OF_OTHERS)
    return None if target.deleted else MessageDeleted(command.target_seq)


def _react(state: ChannelState, command: React, target: Target) -> ReactionChanged | Refusal | None:
    if target.deleted:
        return _deleted()
    own = target.own.get(command.actor_id, set())
    count = target.reactions.get(command.emoji, 0)
    if (command.emoji in own) is command.added:
        return None
    if command.added:
        limits = state.limits
        if len(own) >= limits.emojis_per_user_and_message:
            return _too_many_reactions(f"You have {len(own)} reactions on this message, which is the limit.")
        if not count and len(target.reactions) >= limits.emojis_per_message:
            return _too_many_reactions(
                f"The message has {limits.emojis_per_message} different reactions, which is the limit. "
                "Use one of those."
            )
    return ReactionChanged(
        command.target_seq, command.emoji, command.added, count + (1 if command.added else -1)
    )


def _pin(state: ChannelState, command: Pin, target: Target) -> PinChanged | Refusal | None:
    if not has_right(state.kind, state.roles[command.actor_id], Right.PIN):
        return right_missing(Right.PIN)
    if target.deleted:
        return _deleted()
    if (command.target_seq in state.pins) is command.pinned:
        return None
    if command.pinned and len(state.pins) >= state.limits.pins:
        return Refusal(
            Reason.TOO_MANY_PINS,
            f"The channel has {len(state.pins)} pinned messages, which is the limit. Unpin one first.",
            metadata={"limit": str(state.limits.pins)},
        )
    return PinChanged(command.target_seq, command.pinned, target.author_id)


def _members_among(state: ChannelState, mentions: tuple[str, ...]) -> tuple[str, ...]:
    # Who is no member now cannot be called; the message is none the worse for it.
    return tuple(user_id for user_id in mentions if user_id in state.roles)


def _deleted() -> Refusal:
    return Refusal(Reason.MESSAGE_DELETED, "The message was deleted. Nothing more can be done with it.")


def _too_many_reactions(message: str) -> Refusal:
    return Refusal(Reason.TOO_MANY_REACTIONS, message)
