"""Planted bug: an owner that knows a message already does not look who wrote it before an edit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from parley_server.chat import message_decisions
from parley_server.testing.planting import plant

if TYPE_CHECKING:
    from parley_server.chat.channel_state import ChannelState, Target
    from parley_server.chat.command import EditMessage

_edit = message_decisions._edit


def _edit_of_anybody(state: ChannelState, command: EditMessage, target: Target, at_ms: int) -> Any:
    return _edit(state, command, replace(target, author_id=command.actor_id), at_ms)


plant(message_decisions, _edit=_edit_of_anybody)
