"""Who meets the limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from parley_server.testing.raw_client import Person, RawClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(client: RawClient) -> tuple[Person, Person, str]:
    """Two people and their channel."""
    alice, bob = await client.sign_up(), await client.sign_up()
    return alice, bob, await client.direct(alice, bob)
