"""Who may call UserService: the table is held to the descriptors."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from parley.user.v1 import user_pb2
from parley.user.v1 import user_service_pb2 as users
from parley_server.testing.access_suite import AccessSuite
from parley_server.testing.access_table import USERS, Role, Row
from parley_server.testing.raw_client import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLE: dict[str, Row] = {
    "parley.user.v1.UserService.ExportData": Row(USERS, lambda scene, role: users.ExportDataRequest()),
    "parley.user.v1.UserService.GetUser": Row(
        USERS, lambda scene, role: users.GetUserRequest(username=scene.other.username)
    ),
    "parley.user.v1.UserService.BatchGetUsers": Row(
        USERS, lambda scene, role: users.BatchGetUsersRequest(user_ids=[scene.other.user_id])
    ),
    "parley.user.v1.UserService.UpdateProfile": Row(
        USERS,
        lambda scene, role: users.UpdateProfileRequest(
            user=user_pb2.User(user_id=scene.other.user_id, about="changed"),
            update_mask=FieldMask(paths=["about"]),
        ),
        changes=True,
    ),
    "parley.user.v1.UserService.SearchUsers": Row(
        USERS, lambda scene, role: users.SearchUsersRequest(query="u")
    ),
    "parley.user.v1.UserService.AddContact": Row(
        USERS, lambda scene, role: users.AddContactRequest(user_id=scene.other.user_id), changes=True
    ),
    "parley.user.v1.UserService.RemoveContact": Row(
        USERS, lambda scene, role: users.RemoveContactRequest(user_id=scene.other.user_id)
    ),
    "parley.user.v1.UserService.ListContacts": Row(USERS, lambda scene, role: users.ListContactsRequest()),
    "parley.user.v1.UserService.BlockUser": Row(
        USERS, lambda scene, role: users.BlockUserRequest(user_id=scene.other.user_id), changes=True
    ),
    "parley.user.v1.UserService.UnblockUser": Row(
        USERS, lambda scene, role: users.UnblockUserRequest(user_id=scene.other.user_id)
    ),
    "parley.user.v1.UserService.ListBlocked": Row(USERS, lambda scene, role: users.ListBlockedRequest()),
    # The operator of all scenes must outlive this.
    "parley.user.v1.UserService.DeleteAccount": Row(
        USERS | {Role.OPERATOR: ("FAILED_PRECONDITION", "WRONG_PASSWORD")},
        lambda scene, role: users.DeleteAccountRequest(
            password="another" if role is Role.OPERATOR else PASSWORD
        ),
        changes=True,
    ),
}


class TestUserAccess(AccessSuite):
    """Planted: the row of ListBlocked left out. Planted: a BlockUser that answered before it wrote; found by
    the stores. Planted: a DeleteAccount that looked at no password; found by the operator.
    """

    service = "parley.user.v1.UserService"
    table = TABLE
