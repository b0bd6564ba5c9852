"""What operators do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley._user import User, user_of
from parley._uuid7 import new_id
from parley.admin.v1 import admin_service_pb2

if TYPE_CHECKING:
    from parley._directory import Directory
    from parley._link import Link


class Administration:
    """Manages accounts. Every method raises `OperatorRequired` without an operator's token."""

    def __init__(self, link: Link, directory: Directory) -> None:
        self._link = link
        self._directory = directory

    async def create_user(
        self, username: str, password: str, *, display_name: str = "", operator: bool = False
    ) -> User:
        """Open an account, also where sign-up is closed. Raises `UsernameTaken`, `InvalidField`."""
        request = admin_service_pb2.CreateUserRequest(
            username=username,
            password=password,
            display_name=display_name,
            operator=operator,
            request_id=new_id(),
        )
        return user_of((await self._link.call(self._link.admin.CreateUser, request)).user)

    async def suspend_user(self, user: User | str, *, lift: bool = False) -> None:
        """Suspend an account (profile, name or id), or lift the suspension. Raises `UserNotFound`.

        Suspending ends the user's sessions and refuses log-ins; nothing that was written is removed.
        """
        request = admin_service_pb2.SuspendUserRequest(user_id=await self._directory.user_id(user), lift=lift)
        await self._link.call(self._link.admin.SuspendUser, request)

    async def reset_password(self, user: User | str, new_password: str) -> None:
        """Give an account (profile, name or id) a new password, 8 to 256 code points, and log out all of its
        devices. Raises `UserNotFound`, `InvalidField`.
        """
        request = admin_service_pb2.ResetPasswordRequest(
            user_id=await self._directory.user_id(user), new_password=new_password
        )
        await self._link.call(self._link.admin.ResetPassword, request)
