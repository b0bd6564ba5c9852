"""Who is at hand for a user, and whom the user wants nothing to do with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley._user import User, user_of
from parley.user.v1 import user_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parley._directory import Directory
    from parley._link import Link
    from parley.user.v1 import blocked_user_pb2, contact_pb2

_LARGEST_PAGE = 200


@dataclass(frozen=True, slots=True)
class Contact:
    """A user whom the caller keeps at hand, since `create_time_ms` (milliseconds since 1970-01-01 UTC)."""

    user: User
    create_time_ms: int


@dataclass(frozen=True, slots=True)
class BlockedUser:
    """A user whom the caller blocked, at `create_time_ms` (milliseconds since 1970-01-01 UTC)."""

    user: User
    create_time_ms: int


class RelationCalls:
    """Contacts and blocks. Nobody else sees them. Repeating any of these changes nothing more.

    Users are given by profile, name or id; `UserNotFound` is raised for one who does not exist.
    """

    _link: Link
    _directory: Directory

    async def contacts(self) -> AsyncIterator[Contact]:
        """The user's contacts by user name."""
        request = user_service_pb2.ListContactsRequest(page_size=_LARGEST_PAGE)
        pages = self._link.pages(self._link.users.ListContacts, request, lambda page: page.contacts)
        async for contact in pages:
            yield _contact_of(contact)

    async def add_contact(self, user: User | str) -> None:
        """Keep a user at hand. Raises `Blocked` for one whom the caller blocked, `TooManyContacts`."""
        request = user_service_pb2.AddContactRequest(user_id=await self._directory.user_id(user))
        await self._link.call(self._link.users.AddContact, request)

    async def remove_contact(self, user: User | str) -> None:
        """Take a user from the contacts."""
        request = user_service_pb2.RemoveContactRequest(user_id=await self._directory.user_id(user))
        await self._link.call(self._link.users.RemoveContact, request)

    async def block(self, user: User | str) -> None:
        """Block a user, who is not told: neither can write to the direct channel of the two or open it, nor
        add the other to a group. Groups that both are in go on. Raises `TooManyContacts`.
        """
        request = user_service_pb2.BlockUserRequest(user_id=await self._directory.user_id(user))
        await self._link.call(self._link.users.BlockUser, request)

    async def unblock(self, user: User | str) -> None:
        """End a block. The user does not become a contact again."""
        request = user_service_pb2.UnblockUserRequest(user_id=await self._directory.user_id(user))
        await self._link.call(self._link.users.UnblockUser, request)

    async def blocked(self) -> AsyncIterator[BlockedUser]:
        """The users whom the caller blocked, by user name."""
        request = user_service_pb2.ListBlockedRequest(page_size=_LARGEST_PAGE)
        pages = self._link.pages(self._link.users.ListBlocked, request, lambda page: page.blocked_users)
        async for blocked in pages:
            yield _blocked_user_of(blocked)


def _contact_of(contact: contact_pb2.Contact) -> Contact:
    return Contact(user_of(contact.user), contact.create_time.ToMilliseconds())


def _blocked_user_of(blocked: blocked_user_pb2.BlockedUser) -> BlockedUser:
    return BlockedUser(user_of(blocked.user), blocked.create_time.ToMilliseconds())
