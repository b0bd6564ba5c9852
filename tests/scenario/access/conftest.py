"""One node and its people for each access table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from parley.admin.v1 import admin_service_pb2 as admin
from parley_server.testing.access_table import Scene, make_scene, request_id
from parley_server.testing.node_process import NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import PASSWORD, RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """One node for the whole table: every cell makes a scene of its own on it."""
    data = tmp_path_factory.mktemp("access") / "node"
    node = NodeProcess(data, {"limits.devices_per_user": 1000}, (CHEAP_PASSWORDS,))
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(node: NodeProcess) -> AsyncIterator[RawClient]:
    """A connection to it."""
    async with RawClient(node.address) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator_name(node: NodeProcess, client: RawClient) -> str:
    """An operator with a password, so that a cell can log a fresh device in."""
    request = admin.CreateUserRequest(
        username="boss", password=PASSWORD, operator=True, request_id=request_id()
    )
    token = (("authorization", f"Bearer {node.operator_token}"),)
    await client.admin.CreateUser(request, metadata=token)
    return "boss"


@pytest_asyncio.fixture(loop_scope="module")
async def scene(client: RawClient, operator_name: str) -> AsyncIterator[Scene]:
    """A scene for one test alone."""
    scene, stream = await make_scene(client, operator_name)
    yield scene
    stream.cancel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing_scene(client: RawClient, operator_name: str) -> AsyncIterator[Scene]:
    """A scene for all that must change nothing."""
    scene, stream = await make_scene(client, operator_name)
    yield scene
    stream.cancel()
