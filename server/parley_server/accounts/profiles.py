"""Profiles: reading, searching, changing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import invalid_field, user_not_found
from parley_server.accounts import validation
from parley_server.accounts.ids import is_user_id
from parley_server.accounts.names import fold, username_fault
from parley_server.ports.accounts import ProfileChange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.ports.accounts import Accounts, UserRow


class Profiles:
    """The profiles of all users, suspended ones included, deleted ones not. Raises StoreUnavailable where the
    store cannot answer.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def by_id(self, user_id: str) -> UserRow:
        """The user. Raises Refusal USER_NOT_FOUND."""
        user = await self._accounts.user(user_id) if is_user_id(user_id) else None
        if user is None:
            raise user_not_found()
        return user

    async def by_name(self, username: str) -> UserRow:
        """The user with this name, in any case. Raises Refusal USER_NOT_FOUND."""
        faultless = username_fault(username) is None
        user = await self._accounts.user_named(fold(username)) if faultless else None
        if user is None:
            raise user_not_found()
        return user

    async def batch(self, user_ids: Sequence[str]) -> tuple[UserRow, ...]:
        """Those of 1 to 200 users that exist, in the order asked for, each once. Raises Refusal
        INVALID_FIELD.
        """
        validation.check_user_ids(user_ids)
        wanted = [user_id for user_id in dict.fromkeys(user_ids) if is_user_id(user_id)]
        found = {user.user_id: user for user in await self._accounts.users(wanted)}
        return tuple(found[user_id] for user_id in wanted if user_id in found)

    async def existing(self, user_ids: Sequence[str]) -> set[str]:
        """Those of the users that exist. A suspended user does: he stays a member and can be added. Any
        number of ids.
        """
        wanted = [user_id for user_id in dict.fromkeys(user_ids) if is_user_id(user_id)]
        return {user.user_id for user in await self._accounts.users(wanted)}

    async def update(
        self, user_id: str, paths: Sequence[str], *, display_name: str, about: str, avatar_url: str
    ) -> UserRow:
        """Change what `paths` names. Returns the profile as it is now. Raises Refusal INVALID_FIELD,
        USER_NOT_FOUND.
        """
        validation.check_profile(paths, display_name, about, avatar_url)
        named = "display_name" in paths
        change = ProfileChange(
            display_name=display_name if named else None,
            folded_display_name=fold(display_name) if named else None,
            about=about if "about" in paths else None,
            avatar_url=avatar_url if "avatar_url" in paths else None,
        )
        user = await self._accounts.change_profile(user_id, change)
        if user is None:
            raise user_not_found()
        return user

    async def search(self, query: str, *, seeker_id: str, after: str, limit: int) -> tuple[UserRow, ...]:
        """Users whose username or display name starts with the query, by folded username, after `after`, at
        most `limit`. Without those who blocked the seeker.

        Raises Refusal INVALID_FIELD.
        """
        validation.check_search(query)
        if fold(after) != after or "\0" in after:
            raise invalid_field("page_token", "is not a token of this list: pass next_page_token as it came")
        folded = fold(query)
        if "\0" in folded:
            # No name holds it, and not every database takes it in a query.
            return ()
        return await self._accounts.search(folded, seeker_id=seeker_id, after=after, limit=limit)
