"""Waiting for facts that have no event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(true: Callable[[], bool]) -> None:
    """Until it is. Raises TimeoutError after ten seconds."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  # that is what this is for
            await asyncio.sleep(0.01)
