"""Who may call AdminService: the table is held to the descriptors."""

from __future__ import annotations

import pytest

from parley.admin.v1 import admin_service_pb2 as admin
from parley_server.testing.access_suite import AccessSuite
from parley_server.testing.access_table import OPERATORS, Row, fresh_name, request_id
from parley_server.testing.raw_client import PASSWORD

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


class TestAdminAccess(AccessSuite):
    """Planted: the row of ResetPassword left out. Planted: ResetPassword open to everybody; found by the
    stranger.
    """

    service = "parley.admin.v1.AdminService"
    table = TABLE
