"""Finding users by what people type: names, with or without @, and ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley._reasons import InvalidField, UserNotFound
from parley._user import User, user_of
from parley.user.v1 import user_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parley._link import Link


class Directory:
    """Looks users up at the server."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def user(self, name_or_id: str) -> User:
        """The user with this name or id. Raises UserNotFound, whose message says which of several it was.

        "@bob" is a user name for certain. Without @ an id comes first, so that nobody can take the place of
        another user by choosing that user's id as a name.
        """
        try:
            if name_or_id.startswith("@"):
                return await self._get(user_service_pb2.GetUserRequest(username=name_or_id[1:]))
            try:
                return await self._get(user_service_pb2.GetUserRequest(user_id=name_or_id))
            except (UserNotFound, InvalidField):  # A long name cannot be an id at all.
                return await self._get(user_service_pb2.GetUserRequest(username=name_or_id))
        except UserNotFound as error:
            raise UserNotFound(
                f"No such user: {name_or_id}. Check the user id or the user name.",
                code=error.code,
                reason=error.reason,
                metadata=error.metadata,
            ) from error

    async def user_id(self, user: User | str) -> str:
        """The id of a user who is given by profile, name or id. Raises UserNotFound."""
        return user.user_id if isinstance(user, User) else (await self.user(user)).user_id

    async def user_ids(self, users: Iterable[User | str]) -> list[str]:
        """The ids of several users, in their order. Raises UserNotFound for the first that does not exist."""
        if isinstance(users, str):
            raise TypeError("users must be a list of users, not one string")
        return [await self.user_id(user) for user in users]

    async def _get(self, request: user_service_pb2.GetUserRequest) -> User:
        return user_of((await self._link.call(self._link.users.GetUser, request)).user)
