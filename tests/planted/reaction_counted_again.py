"""Planted bug: a reaction that is tried again is counted again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parley_server.chat import message_decisions
from parley_server.chat.command import React
from parley_server.chat.event import ReactionChanged
from parley_server.testing.planting import plant

if TYPE_CHECKING:
    from parley_server.chat.channel_state import ChannelState, Target

_begin = message_decisions._begin
_react = message_decisions._react


def _begin_again(state: ChannelState, command: Any, now_ms: int, older: Any) -> Any:
    begun = _begin(state, command, now_ms, older)
    again = isinstance(command, React) and command.added and command.actor_id in state.roles
    return None if again and getattr(begun, "duplicate", False) else begun


def _count_again(state: ChannelState, command: React, target: Target) -> Any:
    count = target.reactions.get(command.emoji, 0)
    if command.added and not target.deleted and count:
        return ReactionChanged(command.target_seq, command.emoji, True, count + 1)
    return _react(state, command, target)


plant(message_decisions, _begin=_begin_again, _react=_count_again)
