"""UserService: profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley.user.v1 import user_pb2, user_service_pb2
from parley.user.v1.user_service_pb2_grpc import UserServiceServicer
from parley_runtime.refusal import invalid_field
from parley_server.api.call_context import current_caller
from parley_server.api.paging import page_size_of, page_token_for, place_of

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

    from parley_server.accounts.profiles import Profiles
    from parley_server.ports.accounts import UserRow


class UserServicer(UserServiceServicer):
    """Answers UserService from the profiles."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    async def GetUser(
        self,
        request: user_service_pb2.GetUserRequest,
        context: ServicerContext[user_service_pb2.GetUserRequest, user_service_pb2.GetUserResponse],
    ) -> user_service_pb2.GetUserResponse:
        key = request.WhichOneof("key")
        if key is None or not getattr(request, key):
            raise invalid_field("user_id", "is required: a user id, `me`, or instead of it a username")
        if key == "username":
            user = await self._profiles.by_name(request.username)
        else:
            own = request.user_id == "me"
            user = await self._profiles.by_id(current_caller().user_id if own else request.user_id)
        return user_service_pb2.GetUserResponse(user=user_message(user))

    async def BatchGetUsers(
        self,
        request: user_service_pb2.BatchGetUsersRequest,
        context: ServicerContext[
            user_service_pb2.BatchGetUsersRequest, user_service_pb2.BatchGetUsersResponse
        ],
    ) -> user_service_pb2.BatchGetUsersResponse:
        users = await self._profiles.batch(request.user_ids)
        return user_service_pb2.BatchGetUsersResponse(users=[user_message(user) for user in users])

    async def UpdateProfile(
        self,
        request: user_service_pb2.UpdateProfileRequest,
        context: ServicerContext[
            user_service_pb2.UpdateProfileRequest, user_service_pb2.UpdateProfileResponse
        ],
    ) -> user_service_pb2.UpdateProfileResponse:
        user = await self._profiles.update(
            current_caller().user_id,
            request.update_mask.paths,
            display_name=request.user.display_name,
            about=request.user.about,
            avatar_url=request.user.avatar_url,
        )
        return user_service_pb2.UpdateProfileResponse(user=user_message(user))

    async def SearchUsers(
        self,
        request: user_service_pb2.SearchUsersRequest,
        context: ServicerContext[user_service_pb2.SearchUsersRequest, user_service_pb2.SearchUsersResponse],
    ) -> user_service_pb2.SearchUsersResponse:
        page_size = page_size_of(request.page_size)
        place = place_of(request.page_token, str)
        after = "" if place is None else str(place[0])
        rows = await self._profiles.search(
            request.query, seeker_id=current_caller().user_id, after=after, limit=page_size + 1
        )
        page = rows[:page_size]
        more = len(rows) > page_size
        return user_service_pb2.SearchUsersResponse(
            users=[user_message(row) for row in page],
            next_page_token=page_token_for(page[-1].folded_username) if more else "",
        )


def user_message(row: UserRow) -> user_pb2.User:
    """The profile as everybody sees it."""
    message = user_pb2.User(
        user_id=row.user_id,
        username=row.username,
        display_name=row.display_name,
        about=row.about,
        avatar_url=row.avatar_url,
    )
    message.create_time.FromMilliseconds(row.create_time_ms)
    return message
