"""UserService: profiles, contacts, blocks, the end of an account."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from parley.user.v1 import blocked_user_pb2, contact_pb2, user_pb2, user_service_pb2
from parley.user.v1.user_service_pb2_grpc import UserServiceServicer
from parley_runtime.refusal import invalid_field
from parley_server.api.call_context import current_caller
from parley_server.api.paging import page_size_of, page_token_for, place_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from grpc.aio import ServicerContext

    from parley_server.accounts.service import AccountService
    from parley_server.api.data_export import DataExport
    from parley_server.ports.accounts import RelatedRow, UserRow


class UserServicer(UserServiceServicer):
    """Answers UserService from the accounts."""

    def __init__(self, accounts: AccountService, export: DataExport) -> None:
        self._accounts = accounts
        self._export = export

    async def GetUser(
        self,
        request: user_service_pb2.GetUserRequest,
        context: ServicerContext[user_service_pb2.GetUserRequest, user_service_pb2.GetUserResponse],
    ) -> user_service_pb2.GetUserResponse:
        key = request.WhichOneof("key")
        if key is None or not getattr(request, key):
            raise invalid_field("user_id", "is required: a user id, `me`, or instead of it a username")
        if key == "username":
            user = await self._accounts.profiles.by_name(request.username)
        else:
            own = request.user_id == "me"
            user = await self._accounts.profiles.by_id(current_caller().user_id if own else request.user_id)
        return user_service_pb2.GetUserResponse(user=user_message(user))

    async def BatchGetUsers(
        self,
        request: user_service_pb2.BatchGetUsersRequest,
        context: ServicerContext[
            user_service_pb2.BatchGetUsersRequest, user_service_pb2.BatchGetUsersResponse
        ],
    ) -> user_service_pb2.BatchGetUsersResponse:
        users = await self._accounts.profiles.batch(request.user_ids)
        return user_service_pb2.BatchGetUsersResponse(users=[user_message(user) for user in users])

    async def UpdateProfile(
        self,
        request: user_service_pb2.UpdateProfileRequest,
        context: ServicerContext[
            user_service_pb2.UpdateProfileRequest, user_service_pb2.UpdateProfileResponse
        ],
    ) -> user_service_pb2.UpdateProfileResponse:
        user = await self._accounts.profiles.update(
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
        after = _name_in(request.page_token)
        rows = await self._accounts.profiles.search(
            request.query, seeker_id=current_caller().user_id, after=after, limit=page_size + 1
        )
        page = rows[:page_size]
        more = len(rows) > page_size
        return user_service_pb2.SearchUsersResponse(
            users=[user_message(row) for row in page],
            next_page_token=page_token_for(page[-1].folded_username) if more else "",
        )

    async def AddContact(
        self,
        request: user_service_pb2.AddContactRequest,
        context: ServicerContext[user_service_pb2.AddContactRequest, user_service_pb2.AddContactResponse],
    ) -> user_service_pb2.AddContactResponse:
        await self._accounts.contacts.add(current_caller().user_id, request.user_id)
        return user_service_pb2.AddContactResponse()

    async def RemoveContact(
        self,
        request: user_service_pb2.RemoveContactRequest,
        context: ServicerContext[
            user_service_pb2.RemoveContactRequest, user_service_pb2.RemoveContactResponse
        ],
    ) -> user_service_pb2.RemoveContactResponse:
        await self._accounts.contacts.remove(current_caller().user_id, request.user_id)
        return user_service_pb2.RemoveContactResponse()

    async def ListContacts(
        self,
        request: user_service_pb2.ListContactsRequest,
        context: ServicerContext[user_service_pb2.ListContactsRequest, user_service_pb2.ListContactsResponse],
    ) -> user_service_pb2.ListContactsResponse:
        page_size = page_size_of(request.page_size)
        rows = await self._accounts.contacts.list(
            current_caller().user_id, after=_name_in(request.page_token), limit=page_size + 1
        )
        page = rows[:page_size]
        return user_service_pb2.ListContactsResponse(
            contacts=[contact_message(row) for row in page],
            next_page_token=page_token_for(page[-1].user.folded_username) if len(rows) > page_size else "",
        )

    async def BlockUser(
        self,
        request: user_service_pb2.BlockUserRequest,
        context: ServicerContext[user_service_pb2.BlockUserRequest, user_service_pb2.BlockUserResponse],
    ) -> user_service_pb2.BlockUserResponse:
        await self._accounts.blocks.block(current_caller().user_id, request.user_id)
        return user_service_pb2.BlockUserResponse()

    async def UnblockUser(
        self,
        request: user_service_pb2.UnblockUserRequest,
        context: ServicerContext[user_service_pb2.UnblockUserRequest, user_service_pb2.UnblockUserResponse],
    ) -> user_service_pb2.UnblockUserResponse:
        await self._accounts.blocks.unblock(current_caller().user_id, request.user_id)
        return user_service_pb2.UnblockUserResponse()

    async def ListBlocked(
        self,
        request: user_service_pb2.ListBlockedRequest,
        context: ServicerContext[user_service_pb2.ListBlockedRequest, user_service_pb2.ListBlockedResponse],
    ) -> user_service_pb2.ListBlockedResponse:
        page_size = page_size_of(request.page_size)
        rows = await self._accounts.blocks.list(
            current_caller().user_id, after=_name_in(request.page_token), limit=page_size + 1
        )
        page = rows[:page_size]
        return user_service_pb2.ListBlockedResponse(
            blocked_users=[blocked_user_message(row) for row in page],
            next_page_token=page_token_for(page[-1].user.folded_username) if len(rows) > page_size else "",
        )

    async def DeleteAccount(
        self,
        request: user_service_pb2.DeleteAccountRequest,
        context: ServicerContext[
            user_service_pb2.DeleteAccountRequest, user_service_pb2.DeleteAccountResponse
        ],
    ) -> user_service_pb2.DeleteAccountResponse:
        await self._accounts.deletions.delete(current_caller().user_id, request.password)
        return user_service_pb2.DeleteAccountResponse()

    async def ExportData(
        self,
        request: user_service_pb2.ExportDataRequest,
        context: ServicerContext[user_service_pb2.ExportDataRequest, user_service_pb2.ExportDataResponse],
    ) -> AsyncIterator[user_service_pb2.ExportDataResponse]:
        async with aclosing(self._export.chunks(current_caller().user_id)) as chunks:
            async for chunk in chunks:
                yield user_service_pb2.ExportDataResponse(chunk=chunk)


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


def contact_message(row: RelatedRow) -> contact_pb2.Contact:
    """The contact as its owner sees it."""
    message = contact_pb2.Contact(user=user_message(row.user))
    message.create_time.FromMilliseconds(row.create_time_ms)
    return message


def blocked_user_message(row: RelatedRow) -> blocked_user_pb2.BlockedUser:
    """The blocked user as the one who blocked sees him."""
    message = blocked_user_pb2.BlockedUser(user=user_message(row.user))
    message.create_time.FromMilliseconds(row.create_time_ms)
    return message


def _name_in(page_token: str) -> str:
    """The folded username that a page begins after."""
    place = place_of(page_token, str)
    return "" if place is None else str(place[0])
