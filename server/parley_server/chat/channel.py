"""A channel's rules. Pure: `decide` says which events a command leads to.

What is said of messages is in `message_decisions`, of members and settings in `member_decisions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import Refusal, channel_not_found
from parley_server.chat.command import (
    Command,
    CreateChannel,
    DeleteMessage,
    Done,
    EditMessage,
    EraseAuthor,
    Forbidden,
    JoinByInvite,
    Pin,
    PostMessage,
    React,
)
from parley_server.chat.creation import decide_creation
from parley_server.chat.member_decisions import decide_erasure, decide_joining, decide_membership
from parley_server.chat.message_decisions import decide_change, decide_post
from parley_server.chat.numbering import answer_again

if TYPE_CHECKING:
    from parley_server.chat.channel_state import ChannelState
    from parley_server.chat.event import Event
    from parley_server.chat.known_ids import Sent


def decide(
    state: ChannelState, command: Command, now_ms: int, older: Sent | None = None
) -> tuple[Event, ...] | Done | Refusal:
    """What the command leads to: events to append, or nothing to do, or a refusal. Changes nothing.

    `older` is where the command's client id went if it was found in the log before the known events. The
    messages that the command is about must be in `state.targets`. Event times never go back, whatever the
    clock does.
    """
    match command:
        case CreateChannel():
            return decide_creation(state, command, now_ms, older)
        case PostMessage():
            return decide_post(state, command, now_ms, older)
        case EditMessage() | DeleteMessage() | React() | Pin():
            return decide_change(state, command, now_ms, older)
        case Forbidden():
            sent = state.sent_before(command, command.client_message_id, older)
            return command.refusal if sent is None else answer_again(sent, command.digest)
        case EraseAuthor():
            return decide_erasure(state, command, now_ms)
    if state.deleted:
        return channel_not_found()
    if isinstance(command, JoinByInvite):
        return decide_joining(state, command, now_ms)
    return decide_membership(state, command, now_ms, older)
