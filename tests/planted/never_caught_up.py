"""Planted bug: what the log holds beyond the projections is never applied, at no start and no activation."""

from __future__ import annotations

from typing import Any

from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.chat import activation
from parley_server.testing.planting import plant


async def _stay_behind(channel_id: str, _log: object, projections: Any, *_limits: object) -> int:
    watermark: int = await projections.watermark(channel_id)
    return watermark


async def _nothing_behind(_self: object, *, limit: int) -> tuple[str, ...]:
    return ()


plant(activation, catch_up=_stay_behind)
plant(SqliteProjections, behind=_nothing_behind)
