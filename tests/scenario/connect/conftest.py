"""A node that is connected to, and two who talk on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import Person, RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, planted: Path) -> AsyncIterator[NodeProcess]:
    """A node with a short patience for Hello, whose log can be held."""
    node = NodeProcess(
        tmp_path_factory.mktemp("connect") / "node",
        {"sessions.hello_seconds": 1},
        (CHEAP_PASSWORDS, planted / "held_appends.py"),
    )
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr
    assert "never retrieved" not in node.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it."""
    async with RawClient(node.address) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def talk(client: RawClient) -> AsyncIterator[tuple[Person, Person, str]]:
    """Two people and their channel; the other's stream must not notice what is done to the one's."""
    alice, bob = await client.sign_up(), await client.sign_up()
    channel_id = await client.direct(alice, bob)
    bystander = await client.connect(bob)
    yield alice, bob, channel_id
    sent = await client.send(bob, channel_id, "still here")
    await bystander.until(lambda: sent.seq in bystander.event_seqs(channel_id))
    assert bystander.event_seqs(channel_id) == list(range(4, sent.seq + 1))
    bystander.cancel()
