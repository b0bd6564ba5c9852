"""Who may call AdminService: the table is held to the descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley.admin.v1 import admin_service_pb2 as admin
from parley_server.testing.access_table import (
    OPERATORS,
    Role,
    Row,
    Scene,
    cell_id,
    cells,
    check_cell,
    fresh_name,
    methods_of,
    request_id,
)
from parley_server.testing.raw_client import PASSWORD

if TYPE_CHECKING:
    from parley_server.testing.node_process import NodeProcess
    from parley_server.testing.raw_client import RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLE: dict[str, Row] = {
    "parley.admin.v1.AdminService.CreateUser": Row(
        OPERATORS,
        lambda scene, role: admin.CreateUserRequest(
            username=fresh_name(), password=PASSWORD, request_id=request_id()
        ),
        changes=True,
    ),
    "parley.admin.v1.AdminService.ResetPassword": Row(
        OPERATORS,
        lambda scene, role: admin.ResetPasswordRequest(user_id=scene.other.user_id, new_password=PASSWORD),
        changes=True,
    ),
    "parley.admin.v1.AdminService.SuspendUser": Row(
        OPERATORS, lambda scene, role: admin.SuspendUserRequest(user_id=scene.other.user_id), changes=True
    ),
}


async def test_every_rpc_has_a_row_and_every_row_an_rpc() -> None:
    """Planted: the row of ResetPassword left out."""
    assert set(TABLE) == methods_of("parley.admin.v1.AdminService")
    for name, row in TABLE.items():
        assert set(row.answers) == set(Role), name


@pytest.mark.parametrize(("name", "role"), list(cells(TABLE)), ids=cell_id)
async def test_cell(
    name: str,
    role: Role,
    node: NodeProcess,
    client: RawClient,
    operator_name: str,
    standing_scene: Scene,
) -> None:
    """One RPC, one caller: code, reason, and whether the stores may be touched.

    Planted: ResetPassword open to everybody; found by the stranger.
    """
    await check_cell(
        TABLE,
        name,
        role,
        node=node,
        client=client,
        operator_name=operator_name,
        standing_scene=standing_scene,
    )
