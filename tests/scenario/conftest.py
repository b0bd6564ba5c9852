"""A real node in a child process for every test of this folder that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from parley_server.testing.node_process import NodeProcess

if TYPE_CHECKING:
    from pathlib import Path

StartNode = Callable[..., Awaitable[NodeProcess]]


@pytest.fixture
async def start_node(tmp_path: Path) -> AsyncIterator[StartNode]:
    """Starts nodes: `await start_node(**{"limits.group_members": 3})`. Each has a data folder of its own."""
    nodes: list[NodeProcess] = []

    async def start(**settings: object) -> NodeProcess:
        node = NodeProcess(tmp_path / f"node{len(nodes)}", settings)
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
