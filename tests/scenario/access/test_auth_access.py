"""Who may call AuthService: the table is held to the descriptors."""

from __future__ import annotations

import pytest

from parley.auth.v1 import auth_service_pb2 as auth
from parley_server.testing.access_suite import AccessSuite
from parley_server.testing.access_table import (
    ANYBODY,
    NO_DEVICE,
    REVOKED,
    USERS,
    Role,
    Row,
    Scene,
    fresh_name,
    only_the_member,
    request_id,
)
from parley_server.testing.raw_client import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _refresh(scene: Scene, role: Role) -> auth.RefreshRequest:
    person = scene.of(role)
    return auth.RefreshRequest(refresh_token=person.refresh_token if person else "")


TABLE: dict[str, Row] = {
    "parley.auth.v1.AuthService.SignUp": Row(
        ANYBODY,
        lambda scene, role: auth.SignUpRequest(
            username=fresh_name(), password=PASSWORD, request_id=request_id()
        ),
        changes=True,
    ),
    "parley.auth.v1.AuthService.LogIn": Row(
        ANYBODY,
        lambda scene, role: auth.LogInRequest(
            username=scene.other.username, password=PASSWORD, request_id=request_id()
        ),
        changes=True,
    ),
    "parley.auth.v1.AuthService.Refresh": Row(
        ANYBODY | {Role.ANONYMOUS: ("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"), Role.REVOKED: REVOKED},
        _refresh,
        changes=True,
    ),
    "parley.auth.v1.AuthService.LogOut": Row(USERS, lambda scene, role: auth.LogOutRequest(), changes=True),
    # The devices of the standing scene must outlive this.
    "parley.auth.v1.AuthService.ChangePassword": Row(
        USERS,
        lambda scene, role: auth.ChangePasswordRequest(
            old_password=PASSWORD, new_password=PASSWORD, keep_other_devices=True
        ),
        changes=True,
    ),
    "parley.auth.v1.AuthService.ListDevices": Row(USERS, lambda scene, role: auth.ListDevicesRequest()),
    "parley.auth.v1.AuthService.RevokeDevice": Row(
        only_the_member(NO_DEVICE),
        lambda scene, role: auth.RevokeDeviceRequest(device_id=scene.member_second_device.device_id),
        changes=True,
    ),
    "parley.auth.v1.AuthService.GetJwks": Row(ANYBODY, lambda scene, role: auth.GetJwksRequest()),
}


class TestAuthAccess(AccessSuite):
    """Planted: the row of ChangePassword left out. Planted: ChangePassword open to revoked devices; found by
    the revoked one. Planted: a ChangePassword that wrote nothing; found by the stores.
    """

    service = "parley.auth.v1.AuthService"
    table = TABLE
