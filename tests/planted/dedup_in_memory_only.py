"""Planted bug: the client ids that an owner has seen live in its memory only; a restart forgets them."""

from __future__ import annotations

from typing import Any

from parley_server.chat import activation, known_ids


async def _learn_nothing(*_arguments: object) -> None:
    return


_planted: Any = activation
_planted._learn_ids = _learn_nothing
_planted = known_ids.KnownIds
_planted.may_be_older = lambda _self, _actor_id, _client_id: False
