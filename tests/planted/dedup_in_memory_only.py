"""Planted bug: the client ids that an owner has seen live in its memory only; a restart forgets them."""

from __future__ import annotations

from parley_server.chat import activation, known_ids
from parley_server.testing.planting import plant


async def _learn_nothing(*_arguments: object) -> None:
    return


plant(activation, _learn_ids=_learn_nothing)
plant(known_ids.KnownIds, may_be_older=lambda _self, _actor_id, _client_id: False)
