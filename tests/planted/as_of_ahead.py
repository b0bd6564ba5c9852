"""Planted bug: what became of a message is said to be newer than it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from parley_server.chat import presenting
from parley_server.chat.message_view import show_message
from parley_server.testing.planting import plant

AHEAD = 5


def _show_ahead(message: Any, states: Any, edit: Any) -> None:
    show_message(message, replace(states, as_of_seq=states.as_of_seq + AHEAD), edit)


plant(presenting, show_message=_show_ahead)
