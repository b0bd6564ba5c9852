"""Real nodes in child processes, for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient

if TYPE_CHECKING:
    from pathlib import Path

StartNode = Callable[..., Awaitable[NodeProcess]]


@pytest.fixture
async def start_node(tmp_path: Path) -> AsyncIterator[StartNode]:
    """Starts nodes: `await start_node(*plants, **{"limits.group_members": 3})`. Each has a data folder of its
    own, and ends with the test.
    """
    nodes: list[NodeProcess] = []

    async def start(*plants: Path, **settings: object) -> NodeProcess:
        node = NodeProcess(tmp_path / f"node{len(nodes)}", settings, plants)
        nodes.append(node)
        await node.start()
        return node

    yield start
    for node in nodes:
        await node.close()


@pytest.fixture
async def node(start_node: StartNode) -> NodeProcess:
    """A node with default limits and no rate limits."""
    return await start_node()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def standing_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """One node for all tests that change nothing but what they made themselves: default limits, no rate
    limits, passwords that cost little.
    """
    node = NodeProcess(tmp_path_factory.mktemp("standing") / "node", plants=(CHEAP_PASSWORDS,))
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr
    assert "was not stored" not in node.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(standing_node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to the standing node."""
    async with RawClient(standing_node.address) as client:
        yield client
