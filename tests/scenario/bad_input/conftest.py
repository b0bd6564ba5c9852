"""Who is there while the node is given what is no request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley_server.testing.raw_client import Person, RawClient


@pytest_asyncio.fixture(loop_scope="module")
async def talk(client: RawClient) -> AsyncIterator[tuple[Person, Person, str]]:
    """Two people and their channel. Whatever the test did: only what was sent by right is in it, and the
    other's stream never noticed.
    """
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    bystander = await client.connect(bob)
    yield alice, bob, channel_id
    sent = await client.send(bob, channel_id, "the only message")
    assert sent.seq == 4
    await bystander.until(lambda: bystander.events)
    await bystander.barrier()
    assert bystander.event_seqs(channel_id) == [4]
    bystander.cancel()
