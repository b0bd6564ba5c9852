"""Planted bug: a message that is deleted keeps its reactions in the projections."""

from __future__ import annotations

from typing import Any

from parley_server.backends import projected
from parley_server.backends.projected_messages import derive_message
from parley_server.testing.planting import plant


def _derive_and_keep(messages: Any, emojis: Any, changes: Any, *event: Any) -> None:
    had, reactions = dict(changes.emojis), dict(changes.reactions)
    derive_message(messages, emojis, changes, *event)
    changes.cleared.clear()
    changes.emojis, changes.reactions = had | changes.emojis, reactions | changes.reactions


plant(projected, derive_message=_derive_and_keep)
