"""Planted bug: what a kill took of the projections is derived anew, but not what became of messages."""

from __future__ import annotations

from typing import Any

from parley_server.backends import projected
from parley_server.backends.projected_messages import derive_message
from parley_server.backends.sqlite import rebuild
from parley_server.chat import activation
from parley_server.testing.planting import plant

_catch_up = activation.catch_up
_catching_up: list[str] = []


async def _catch_up_some(channel_id: str, *rest: Any) -> int:
    _catching_up.append(channel_id)
    try:
        return await _catch_up(channel_id, *rest)
    finally:
        _catching_up.pop()


def _derive_if_live(*rest: Any) -> None:
    if not _catching_up:
        derive_message(*rest)


plant(activation, catch_up=_catch_up_some)
plant(rebuild, catch_up=_catch_up_some)
plant(projected, derive_message=_derive_if_live)
